// Reads one call of a mediator's log: the texts of its lines, and the numbers that stand between them. What the texts say
// is not known here.
#include "mediator.h"

#include <string.h>

#define SHOWN_LIMIT 4096
// The executor shows 195 bytes of a longer payload, each with a space behind it.
#define EXECUTOR_SHOWS 585
#define DIGEST_DIGITS 16
// No part of a call's text may be shorter (hash_of).
#define PART_LEAST 16

#define TEXT(name, literal) static const char name[] = literal
#define TAKE(cursor, text) take(cursor, text, sizeof(text) - 1)

TEXT(TERMINATOR, "[MEDIATOR] CUDA result sent vm_id=");
TEXT(REQUEST_ID, " request_id=");
TEXT(CALL_ID, " call_id=0x");
TEXT(STATUS, " result.status=");
TEXT(DONE, " -> stub sets DONE\n");
TEXT(INPUT, "[mediator] CUDA call input prefix vm=");
TEXT(SEQ, " seq=");
TEXT(LEN, " len=");
TEXT(PREFIX_LEN, " prefix_len=");
TEXT(BYTES, " bytes=[");
TEXT(EXECUTOR, "[cuda-executor] ");
TEXT(HTOD, "cuMemcpyHtoD input prefix vm=");
TEXT(ASYNC, "cuMemcpyHtoDAsync input prefix vm=");
TEXT(ASYNC_COPY, "cuMemcpyHtoDAsync vm=");
TEXT(DIGEST, " fnv1a64=0x");
TEXT(DTOH, "cuMemcpyDtoH result prefix vm=");
TEXT(PARAMETERS, "cuLaunchKernel param buffer prefix vm=");

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	struct call *call;
	// Where the part that is not ended begins.
	const uint8_t *part;
};

static bool take(struct cursor *cursor, const char *text, size_t length)
{
	if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, text, length) != 0) {
		return false;
	}
	cursor->at += length;
	return true;
}

// 1 to `most` decimal digits.
static bool digits(struct cursor *cursor, unsigned most, uint64_t *value)
{
	const uint8_t *start = cursor->at;
	const uint8_t *limit = (size_t)(cursor->end - start) > most ? start + most + 1 : cursor->end;
	const uint8_t *at = start;
	uint64_t read = 0;
	for (; at < limit && (uint8_t)(*at - '0') < 10; at++) {
		read = read * 10 + (uint64_t)(*at - '0');
	}
	cursor->at = at;
	*value = read;
	return at > start && at <= start + most;
}

// A number that differs from call to call, as it is printed: without zeros before it.
static bool number(struct cursor *cursor, uint32_t *value)
{
	const uint8_t *start = cursor->at;
	uint64_t read;
	if (!digits(cursor, 10, &read) || read > UINT32_MAX || (*start == '0' && cursor->at - start > 1)) {
		return false;
	}
	*value = (uint32_t)read;
	return true;
}

static bool hex(struct cursor *cursor, unsigned least)
{
	unsigned count = 0;
	while (cursor->at < cursor->end && count < 9 &&
	       ((*cursor->at >= '0' && *cursor->at <= '9') || (*cursor->at >= 'a' && *cursor->at <= 'f'))) {
		cursor->at++;
		count++;
	}
	return count >= least && count <= 8;
}

static bool end_part(struct cursor *cursor)
{
	struct call *call = cursor->call;
	if (call->part_count == PART_LIMIT) {
		return false;
	}
	call->parts[call->part_count++] = (struct part){ cursor->part, (size_t)(cursor->at - cursor->part) };
	return true;
}

// " len=N prefix_len=N bytes=[", the payload, "]" and the newline. The payload is no part of the call's text.
static bool take_shown(struct cursor *cursor)
{
	uint64_t ignored;
	uint64_t shown;
	if (!TAKE(cursor, LEN) || !digits(cursor, 10, &ignored) || !TAKE(cursor, PREFIX_LEN) ||
	    !digits(cursor, 10, &shown) || shown > SHOWN_LIMIT || !TAKE(cursor, BYTES) || !end_part(cursor)) {
		return false;
	}
	size_t left = (size_t)(cursor->end - cursor->at);
	size_t length = shown == 0 ? 0 : (size_t)shown * 3 - 1;
	if (length + 2 > left || cursor->at[length] != ']') {
		length = EXECUTOR_SHOWS;
	}
	// A line of another thread in the middle of it would move the bracket; where bytes are missing, a line may end early.
	if (length + 2 > left || cursor->at[length] != ']' ||
	    memchr(cursor->at, '\n', length + 2) != cursor->at + length + 1) {
		return false;
	}
	cursor->part = cursor->at + length;
	cursor->at += length + 2;
	return true;
}

static bool take_input(struct cursor *cursor)
{
	uint64_t ignored;
	if (!digits(cursor, 10, &ignored) || !TAKE(cursor, CALL_ID) || !hex(cursor, 4) || !TAKE(cursor, SEQ) ||
	    !end_part(cursor) || !number(cursor, &cursor->call->seq)) {
		return false;
	}
	cursor->part = cursor->at;
	return take_shown(cursor);
}

static bool take_terminator(struct cursor *cursor)
{
	uint64_t ignored;
	if (!digits(cursor, 10, &ignored) || !TAKE(cursor, REQUEST_ID) || !end_part(cursor) ||
	    !number(cursor, &cursor->call->request_id)) {
		return false;
	}
	cursor->part = cursor->at;
	return TAKE(cursor, CALL_ID) && hex(cursor, 1) && TAKE(cursor, STATUS) && digits(cursor, 10, &ignored) &&
	       TAKE(cursor, DONE) && end_part(cursor);
}

// 16 hexadecimal digits.
static bool take_digest(const uint8_t *at, uint64_t *value)
{
	uint64_t read = 0;
	for (const uint8_t *end = at + DIGEST_DIGITS; at < end; at++) {
		unsigned digit = (unsigned)*at - '0';
		if (digit > 9) {
			digit = (unsigned)*at - 'a' + 10;
			if (digit < 10 || digit > 15) {
				return false;
			}
		}
		read = read << 4 | digit;
	}
	*value = read;
	return true;
}

// An asynchronous copy's line: the sequence number, which is the one of the input line, and at the end a hash.
static bool take_async_copy(struct cursor *cursor)
{
	struct call *call = cursor->call;
	uint64_t ignored;
	uint32_t seq;
	if (!call->has_seq || call->has_digest || !digits(cursor, 10, &ignored) || !TAKE(cursor, SEQ) ||
	    !end_part(cursor) || !number(cursor, &seq) || seq != call->seq) {
		return false;
	}
	cursor->part = cursor->at;
	const uint8_t *newline = memchr(cursor->at, '\n', (size_t)(cursor->end - cursor->at));
	size_t shortest = PART_LEAST + sizeof(DIGEST) - 1 + DIGEST_DIGITS;
	if (newline == NULL || (size_t)(newline - cursor->at) < shortest) {
		return false;
	}
	const uint8_t *digest = newline - DIGEST_DIGITS;
	// A line that has two of them is not known.
	const void *first = memmem(cursor->at, (size_t)(digest - cursor->at), DIGEST, sizeof(DIGEST) - 1);
	cursor->at = digest - (sizeof(DIGEST) - 1);
	if (first != cursor->at || !TAKE(cursor, DIGEST) || !end_part(cursor) || !take_digest(digest, &call->digest)) {
		return false;
	}
	call->has_digest = true;
	cursor->part = newline;
	cursor->at = newline + 1;
	return true;
}

static bool take_executor(struct cursor *cursor)
{
	uint64_t ignored;
	if (TAKE(cursor, ASYNC_COPY)) {
		return take_async_copy(cursor);
	}
	if (TAKE(cursor, HTOD) || TAKE(cursor, ASYNC) || TAKE(cursor, DTOH)) {
		return digits(cursor, 10, &ignored) && take_shown(cursor);
	}
	const uint8_t *newline = memchr(cursor->at, '\n', (size_t)(cursor->end - cursor->at));
	// Its payload is never kept.
	if (newline == NULL || TAKE(cursor, PARAMETERS)) {
		return false;
	}
	cursor->at = newline + 1;
	return true;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_of(const struct call *call)
{
	uint64_t one = 0x9e3779b97f4a7c15u;
	uint64_t other = 0xd6e8feb86659fd93u;
	for (unsigned index = 0; index < call->part_count; index++) {
		const uint8_t *at = call->parts[index].at;
		size_t length = call->parts[index].length;
		size_t done = 0;
		for (; done + 32 <= length; done += 32) {
			one = mix(load64(at + done) ^ 0xa0761d6478bd642fu, load64(at + done + 8) ^ one);
			other = mix(load64(at + done + 16) ^ 0xe7037ed1a0b428dbu, load64(at + done + 24) ^ other);
		}
		if (done + 16 <= length) {
			one = mix(load64(at + done) ^ 0xa0761d6478bd642fu, load64(at + done + 8) ^ one);
		}
		other = mix(load64(at + length - 16) ^ length, load64(at + length - 8) ^ other);
	}
	return mix(one ^ 0x8ebc6af09c88c6e3u, other);
}

const uint8_t *parse_call(const uint8_t *at, const uint8_t *end, struct call *call)
{
	struct cursor cursor = { .at = at, .end = end, .call = call, .part = at };
	if (end - at > CALL_LIMIT) {
		cursor.end = at + CALL_LIMIT;
	}
	call->part_count = 0;
	call->seq = 0;
	call->has_digest = false;
	call->has_seq = TAKE(&cursor, INPUT);
	if (call->has_seq && !take_input(&cursor)) {
		return NULL;
	}
	for (unsigned line = 0; line < LINE_LIMIT; line++) {
		if (TAKE(&cursor, TERMINATOR)) {
			return take_terminator(&cursor) ? cursor.at : NULL;
		}
		if (!TAKE(&cursor, EXECUTOR) || !take_executor(&cursor)) {
			return NULL;
		}
	}
	return NULL;
}

const uint8_t *parse_terminator(const uint8_t *at, const uint8_t *end)
{
	struct call ignored = { .part_count = 0 };
	struct cursor cursor = { .at = at, .end = end, .call = &ignored, .part = at };
	return TAKE(&cursor, TERMINATOR) && take_terminator(&cursor) ? cursor.at : NULL;
}
