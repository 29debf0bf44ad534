// A mediator's log, call by call (mediator-call.c) and as a whole (mediator.c).
#ifndef MEDIATOR_H
#define MEDIATOR_H

#include "scan.h"

// Longer calls, and those of more lines, are handed on.
#define CALL_LIMIT 8192
#define LINE_LIMIT 16
#define PART_LIMIT 8

// Text that is the same in every call of a shape.
struct part {
	const uint8_t *at;
	size_t length;
};

struct call {
	struct part parts[PART_LIMIT];
	unsigned part_count;
	uint32_t request_id;
	bool has_seq;
	// 0 where no line shows one.
	uint32_t seq;
	// Where a line shows the payload's hash, that; such a line has the sequence number too.
	bool has_digest;
	uint64_t digest;
	// Of the texts.
	uint64_t hash;
};

// The call whose first line begins at `at`, if it is one that may be a known one's like. Returns where it ends, or NULL.
const uint8_t *parse_call(const uint8_t *at, const uint8_t *end, struct call *call);

// Where the line ends that begins at `at`, if that is a terminator; NULL otherwise.
const uint8_t *parse_terminator(const uint8_t *at, const uint8_t *end);

// Of all parts; every one has 16 bytes at least.
uint64_t hash_of(const struct call *call);

#endif
