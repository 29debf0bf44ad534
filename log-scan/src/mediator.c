// Reads a stretch of a mediator's log. A call that stands there in the same bytes as an earlier one, but for its request
// id, its sequence number and the payload that it shows, is told by its numbers alone. Everything else is handed on as it
// stands there: what lines mean is not known here.
#include "mediator.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Calls that one thread knows, and bytes of them.
#define SHAPE_LIMIT 4096
#define TEXT_LIMIT ((size_t)4 << 20)
#define SHAPE_SLOTS (2 * SHAPE_LIMIT)
#define SEEN_SLOTS 16384
// Bytes that are handed on themselves; of more, only where they stand.
#define INLINE_LIMIT 16384
// Bytes that are read at once: reading them into a cache's size is faster than mapping the file.
#define WINDOW ((size_t)256 << 10)
// More than a terminator's line has.
#define TERMINATOR_LIMIT 256
// Bytes of one record of calls.
#define CALLS_LIMIT 32768

struct shape {
	struct part parts[PART_LIMIT];
	unsigned part_count;
	uint64_t hash;
	// Number of the shape that came after this one the last time.
	uint16_t next;
};

// Calls of one shape and length, one directly behind the other, whose numbers grow by one. Written as it is, or only the
// first two with NEXT on the shape: one call without a sequence number, with the request id after the last one written.
// With DIGEST on the shape the hash follows that the one call shows.
#define NEXT 0x8000
#define DIGEST 0x4000
struct entry {
	uint16_t shape;
	uint16_t length;
	uint32_t request_id;
	uint32_t seq;
	uint32_t count;
};

struct log {
	struct task *task;
	// What is in the window ends here; it is all there is of the stretch when there is nothing left to read.
	const uint8_t *end;
	// Offset in the file of the window's first byte, and bytes behind the window that belong to the stretch.
	uint64_t offset;
	uint64_t left;
	// What is to be handed on and was not yet: from here to where the reading is; NULL for nothing.
	const uint8_t *raw;
	bool in_calls;
	// The newest entry of the record of calls.
	struct entry entry;
	bool has_seq;
	bool has_digest;
	uint64_t digest;
	// The request id after the last entry written to this record; more than 32 bits when there is none.
	uint64_t next_request;
	// What this thread knows, from stretch to stretch. Readers know it by its number.
	uint32_t number;
	uint32_t shape_count;
	// The shape of the newest call.
	uint16_t newest;
	size_t text_used;
	struct shape shapes[SHAPE_LIMIT];
	// Index + 1 of a shape by its hash.
	uint16_t slots[SHAPE_SLOTS];
	// Hashes of calls that were seen once.
	uint32_t seen[SEEN_SLOTS];
	uint8_t text[TEXT_LIMIT];
	uint8_t window[WINDOW];
};

static bool is_shape(const struct shape *shape, const struct call *call)
{
	if (shape->part_count != call->part_count) {
		return false;
	}
	for (unsigned index = 0; index < call->part_count; index++) {
		const struct part *one = &shape->parts[index];
		const struct part *other = &call->parts[index];
		if (one->length != other->length || memcmp(one->at, other->at, one->length) != 0) {
			return false;
		}
	}
	return true;
}

// The slot of a call's shape, or the free one that it would have.
static uint16_t *slot_of(struct log *log, const struct call *call)
{
	size_t slot = call->hash % SHAPE_SLOTS;
	for (; log->slots[slot] != 0; slot = (slot + 1) % SHAPE_SLOTS) {
		const struct shape *shape = &log->shapes[log->slots[slot] - 1];
		if (shape->hash == call->hash && is_shape(shape, call)) {
			break;
		}
	}
	return &log->slots[slot];
}

static uint64_t offset_of(const struct log *log, const uint8_t *at)
{
	return log->offset + (uint64_t)(at - log->window);
}

static void put_entry(struct log *log)
{
	struct entry *entry = &log->entry;
	if (entry->count == 0) {
		return;
	}
	if (log->has_digest) {
		entry->shape |= DIGEST;
		put_bytes(log->task, entry, sizeof *entry);
		put_u64(log->task, log->digest);
	} else if (entry->count == 1 && !log->has_seq && entry->request_id == log->next_request) {
		entry->shape |= NEXT;
		put_bytes(log->task, entry, 2 * sizeof entry->shape);
	} else {
		put_bytes(log->task, entry, sizeof *entry);
	}
	log->next_request = (uint64_t)entry->request_id + entry->count;
	entry->count = 0;
}

static void end_calls(struct log *log)
{
	if (log->in_calls) {
		put_entry(log);
		record_end(log->task);
	}
	log->in_calls = false;
}

static void put_raw(struct log *log, const uint8_t *to)
{
	const uint8_t *from = log->raw;
	log->raw = NULL;
	if (from == NULL || from == to) {
		return;
	}
	end_calls(log);
	size_t length = (size_t)(to - from);
	record_begin(log->task, length > INLINE_LIMIT ? 'R' : 'I');
	put_u64(log->task, offset_of(log, from));
	if (length > INLINE_LIMIT) {
		put_u64(log->task, length);
	} else {
		put_text(log->task, from, length);
	}
	record_end(log->task);
}

// A call without its payload: how many bytes of that stand before each text.
static void put_text_of(struct log *log, const uint8_t *at, const uint8_t *end, const struct call *call)
{
	put_raw(log, at);
	end_calls(log);
	record_begin(log->task, 'P');
	put_u64(log->task, offset_of(log, at));
	put_u32(log->task, (uint32_t)(end - at));
	const uint8_t *text = at;
	const uint8_t *behind = at;
	for (unsigned index = 0; index < call->part_count; index++) {
		const struct part *part = &call->parts[index];
		const uint8_t *part_end = part->at + part->length;
		// Numbers stand between parts too; only payload stands behind a bracket.
		if (part_end[-1] == '[' || index + 1 == call->part_count) {
			const uint16_t lengths[] = { (uint16_t)(text - behind), (uint16_t)(part_end - text) };
			put_bytes(log->task, lengths, sizeof lengths);
			put_bytes(log->task, text, (size_t)(part_end - text));
			behind = part_end;
			text = index + 1 == call->part_count ? end : call->parts[index + 1].at;
		}
	}
	record_end(log->task);
}

static void put_shape(struct log *log, const uint8_t *at, const uint8_t *end)
{
	put_raw(log, at);
	end_calls(log);
	record_begin(log->task, 'N');
	put_u64(log->task, offset_of(log, at));
	put_text(log->task, at, (size_t)(end - at));
	record_end(log->task);
}

static bool is_next(const struct entry *entry, const struct entry *other, bool has_seq)
{
	return entry->count > 0 && other->shape == entry->shape && other->length == entry->length &&
	       other->request_id == (uint64_t)entry->request_id + entry->count &&
	       (!has_seq || other->seq == (uint64_t)entry->seq + entry->count);
}

static void put_call(struct log *log, const uint8_t *at, const uint8_t *end, uint16_t shape, const struct call *call)
{
	const struct entry entry = { shape, (uint16_t)(end - at), call->request_id, call->seq, 1 };
	put_raw(log, at);
	if (!call->has_digest && is_next(&log->entry, &entry, call->has_seq)) {
		log->entry.count++;
		return;
	}
	struct task *task = log->task;
	if (task->used - task->start > CALLS_LIMIT) {
		end_calls(log);
	}
	if (!log->in_calls) {
		record_begin(task, 'C');
		put_u64(task, offset_of(log, at));
		log->in_calls = true;
		log->next_request = UINT64_MAX;
	}
	put_entry(log);
	log->entry = entry;
	log->has_seq = call->has_seq;
	log->has_digest = call->has_digest;
	log->digest = call->digest;
}

static void take_call(struct log *log, const uint8_t *at, const uint8_t *end, struct call *call)
{
	// Calls come in the same order again, or many of one shape.
	uint16_t next = log->newest < log->shape_count ? log->shapes[log->newest].next : 0;
	if (next < log->shape_count && is_shape(&log->shapes[next], call)) {
		log->newest = next;
		put_call(log, at, end, next, call);
		return;
	}
	call->hash = hash_of(call);
	uint16_t *slot = slot_of(log, call);
	if (*slot != 0) {
		log->shapes[log->newest].next = (uint16_t)(*slot - 1);
		log->newest = (uint16_t)(*slot - 1);
		put_call(log, at, end, log->newest, call);
		return;
	}
	// What comes once is mostly all there is of it: a shape is made of what comes twice.
	uint32_t *seen = &log->seen[call->hash % SEEN_SLOTS];
	uint32_t tag = (uint32_t)(call->hash >> 32) | 1;
	bool is_full = log->shape_count == SHAPE_LIMIT || log->text_used + CALL_LIMIT > TEXT_LIMIT;
	if (*seen != tag || is_full) {
		*seen = tag;
		put_text_of(log, at, end, call);
		return;
	}
	struct shape *shape = &log->shapes[log->shape_count++];
	for (unsigned index = 0; index < call->part_count; index++) {
		const struct part *part = &call->parts[index];
		uint8_t *kept = log->text + log->text_used;
		memcpy(kept, part->at, part->length);
		shape->parts[index] = (struct part){ kept, part->length };
		log->text_used += part->length;
	}
	shape->part_count = call->part_count;
	shape->hash = call->hash;
	shape->next = (uint16_t)(log->shape_count - 1);
	*slot = (uint16_t)log->shape_count;
	put_shape(log, at, end);
}

// What the thread that runs knows. Each has one of its own, for good.
static struct log *known_here(void)
{
	static atomic_uint count;
	static _Thread_local struct log *mine;
	if (mine == NULL) {
		mine = calloc(1, sizeof *mine);
		if (mine != NULL) {
			mine->number = atomic_fetch_add(&count, 1);
		}
	}
	return mine;
}

// Tells where a stretch begins and whose shapes it will name. Few free places are left: all is forgotten.
static void put_begin(struct log *log)
{
	if (log->shape_count > SHAPE_LIMIT / 4 * 3 || log->text_used > TEXT_LIMIT / 4 * 3) {
		log->shape_count = 0;
		log->text_used = 0;
		memset(log->slots, 0, sizeof log->slots);
	}
	record_begin(log->task, 'T');
	put_u64(log->task, log->offset);
	put_u32(log->task, log->number);
	put_u32(log->task, log->shape_count);
	record_end(log->task);
}

// Moves the window on, so that it begins at `at`. Returns where that now is.
static const uint8_t *move_window(struct log *log, const uint8_t *at)
{
	bool in_raw = log->raw != NULL;
	put_raw(log, at);
	size_t kept = (size_t)(log->end - at);
	log->offset = offset_of(log, at);
	memmove(log->window, at, kept);
	size_t wanted = WINDOW - kept < log->left ? WINDOW - kept : (size_t)log->left;
	size_t length = kept;
	while (length < kept + wanted) {
		off_t from = (off_t)(log->offset + length);
		ssize_t count = pread(log->task->fd, log->window + length, kept + wanted - length, from);
		if (count == 0 || (count < 0 && errno != EINTR)) {
			give_up(log->task, count == 0 ? "the file became shorter" : "it cannot be read");
		}
		length += count > 0 ? (size_t)count : 0;
	}
	log->left -= wanted;
	log->end = log->window + length;
	log->raw = in_raw ? log->window : NULL;
	return log->window;
}

static const uint8_t *with_room(struct log *log, const uint8_t *at, size_t room)
{
	return (size_t)(log->end - at) < room && log->left > 0 ? move_window(log, at) : at;
}

// Where the next line begins; the end when there is none.
static const uint8_t *next_line(struct log *log, const uint8_t *at)
{
	for (;;) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(log->end - at));
		if (newline != NULL) {
			return newline + 1;
		}
		if (log->left == 0) {
			return log->end;
		}
		at = move_window(log, log->end);
	}
}

// Behind the first terminator that is one from the beginning of its line on; the end when there is none.
static const uint8_t *behind_terminator(struct log *log, const uint8_t *line)
{
	for (;;) {
		line = with_room(log, line, TERMINATOR_LIMIT);
		if (line == log->end) {
			return line;
		}
		const uint8_t *behind = parse_terminator(line, log->end);
		if (behind != NULL) {
			return behind;
		}
		line = next_line(log, line);
	}
}

static void scan_calls(struct log *log)
{
	struct call call;
	const uint8_t *at = move_window(log, log->end);
	// Nothing is known of the lines before the first terminator.
	log->raw = at;
	if (log->offset != 0) {
		at = next_line(log, at);
	}
	at = behind_terminator(log, at);
	for (;;) {
		at = with_room(log, at, CALL_LIMIT);
		if (at == log->end) {
			break;
		}
		const uint8_t *end = parse_call(at, log->end, &call);
		if (end != NULL) {
			take_call(log, at, end, &call);
		} else {
			log->raw = log->raw == NULL ? at : log->raw;
			end = behind_terminator(log, at);
		}
		at = end;
	}
	put_raw(log, log->end);
	end_calls(log);
}

// Stretches begin and end anywhere: what a line or a call needs of two of them is handed on in two parts.
void scan_mediator(struct task *task, const struct wanted *wanted)
{
	(void)wanted;
	struct log *log = known_here();
	if (log == NULL) {
		give_up(task, "no memory");
	}
	log->task = task;
	log->offset = task->from;
	log->left = task->length;
	log->end = log->window;
	log->raw = NULL;
	log->in_calls = false;
	log->entry.count = 0;
	put_begin(log);
	scan_calls(log);
}
