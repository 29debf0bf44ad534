// The shapes of the lines that debug logging prints for each call (docs/wire.md, "Shim lines: calls").
#include "scan.h"

#include <string.h>

#define TAG "[cuda-transport] "
#define INVOKED "cuda_transport_call() INVOKED: call_id=0x"
#define SENDING "SENDING to VGPU-STUB: call_id=0x"
#define RINGING "RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x"
#define RECEIVED "RECEIVED from VGPU-STUB: call_id=0x"

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	// The text goes on behind the line, which a newline ends.
	bool of_lines;
};

#define INLINE static inline __attribute__((always_inline))

// A literal, eight bytes at a time: its length is known to the compiler.
INLINE bool take(struct cursor *cursor, const char *text, size_t length)
{
	if ((size_t)(cursor->end - cursor->at) < length) {
		return false;
	}
	uint64_t differs = 0;
	size_t at = 0;
	for (; at + 8 <= length; at += 8) {
		differs |= load64(cursor->at + at) ^ load64((const uint8_t *)text + at);
	}
	if (at < length && length >= 8) {
		differs |= load64(cursor->at + length - 8) ^ load64((const uint8_t *)text + length - 8);
	}
	for (; length < 8 && at < length; at++) {
		differs |= (uint64_t)(cursor->at[at] ^ (uint8_t)text[at]);
	}
	cursor->at += differs == 0 ? length : 0;
	return differs == 0;
}

#define TAKE(cursor, literal) take(cursor, literal, sizeof(literal) - 1)

static const uint8_t hex_values[256] = {
	['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17,
	['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
	['A'] = 0x1a, ['B'] = 0x1b, ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f,
};

INLINE bool take_hex(struct cursor *cursor, size_t most, uint64_t *value)
{
	const uint8_t *at = cursor->at;
	const uint8_t *stop = (size_t)(cursor->end - at) < most ? cursor->end : at + most;
	uint64_t number = 0;
	uint8_t digit;
	while (at < stop && (digit = hex_values[*at]) != 0) {
		number = number << 4 | (digit & 15u);
		at++;
	}
	bool ended = at == cursor->end || hex_values[*at] == 0;
	bool found = ended && at > cursor->at;
	cursor->at = at;
	*value = number;
	return found;
}

INLINE bool take_decimal(struct cursor *cursor, uint64_t *value)
{
	const uint8_t *at = cursor->at;
	const uint8_t *stop = cursor->end - at < 10 ? cursor->end : at + 10;
	uint64_t number = 0;
	uint8_t digit;
	while (at < stop && (digit = (uint8_t)(*at - '0')) <= 9) {
		number = number * 10 + digit;
		at++;
	}
	bool ended = at == cursor->end || (uint8_t)(*at - '0') > 9;
	bool found = ended && at > cursor->at;
	cursor->at = at;
	*value = number;
	return found;
}

INLINE bool take_pointer(struct cursor *cursor)
{
	uint64_t value;
	return TAKE(cursor, "(nil)") || (TAKE(cursor, "0x") && take_hex(cursor, 16, &value));
}

INLINE bool at_end(const struct cursor *cursor)
{
	return cursor->at == cursor->end || (cursor->of_lines && *cursor->at == '\n');
}

// The pid, and with it the end of the line.
INLINE bool take_pid(struct cursor *cursor, uint32_t *found)
{
	uint64_t pid;
	if (!TAKE(cursor, "pid=") || !take_decimal(cursor, &pid) || pid == 0 || pid > INT32_MAX ||
	    !TAKE(cursor, ")") || !at_end(cursor)) {
		return false;
	}
	*found = (uint32_t)pid;
	return true;
}

INLINE bool take_invoked_end(struct cursor *cursor, uint32_t *pid)
{
	return TAKE(cursor, " tp=") && take_pointer(cursor) && TAKE(cursor, " bar0=") && take_pointer(cursor) &&
	       TAKE(cursor, " (") && take_pid(cursor, pid);
}

INLINE bool take_plain_end(struct cursor *cursor, uint32_t *pid)
{
	return TAKE(cursor, " (") && take_pid(cursor, pid);
}

INLINE bool take_listed_end(struct cursor *cursor, uint32_t *pid)
{
	return TAKE(cursor, ", ") && take_pid(cursor, pid);
}

// The end of a line names pointers and the process: it is mostly that of the line before of its kind.
INLINE bool take_end(struct cursor *cursor, struct line_end *known, bool (*parse)(struct cursor *, uint32_t *),
		     uint32_t *pid)
{
	const uint8_t *text = cursor->at;
	if (known->length > 0 && (size_t)(cursor->end - text) >= known->length &&
	    memcmp(text, known->text, known->length) == 0) {
		cursor->at += known->length;
		if (at_end(cursor)) {
			*pid = known->pid;
			return true;
		}
		cursor->at = text;
	}
	if (!parse(cursor, pid)) {
		return false;
	}
	size_t length = (size_t)(cursor->at - text);
	if (length <= sizeof known->text) {
		memcpy(known->text, text, length);
		known->length = length;
		known->pid = *pid;
	}
	return true;
}

void add_word(struct wanted *wanted, const char *word)
{
	struct word *added = &wanted->words[wanted->word_count++];
	added->text = word;
	added->length = strlen(word);
	unsigned start = (uint8_t)word[0] | (unsigned)(uint8_t)word[1] << 8;
	wanted->starts[start / 64] |= (uint64_t)1 << start % 64;
}

bool is_of_shim(const struct wanted *wanted, const uint8_t *text, size_t length)
{
	for (size_t at = 0; at + 1 < length; at++) {
		unsigned start = text[at] | (unsigned)text[at + 1] << 8;
		if ((wanted->starts[start / 64] >> start % 64 & 1) == 0) {
			continue;
		}
		for (size_t index = 0; index < wanted->word_count; index++) {
			const struct word *word = &wanted->words[index];
			if (length - at >= word->length && memcmp(text + at, word->text, word->length) == 0) {
				return true;
			}
		}
	}
	return false;
}

enum line_kind parse_call_line(const uint8_t *text, size_t length, bool of_lines, struct line_ends *ends,
			       struct call_line *line)
{
	struct cursor cursor = { text, text + length, of_lines };
	uint64_t id = 0;
	uint64_t skipped;
	uint64_t bytes = 0;
	uint32_t pid = 0;
	enum line_kind kind = LINE_TEXT;
	line->kind = LINE_TEXT;
	if (!TAKE(&cursor, TAG)) {
		return LINE_TEXT;
	}
	if (TAKE(&cursor, SENDING)) {
		if (take_hex(&cursor, 8, &id) && TAKE(&cursor, " seq=") && take_decimal(&cursor, &skipped) &&
		    TAKE(&cursor, " args=") && take_decimal(&cursor, &skipped) && TAKE(&cursor, " data_len=") &&
		    take_decimal(&cursor, &bytes) && take_end(&cursor, &ends->plain, take_plain_end, &pid)) {
			kind = LINE_SENDING;
		}
	} else if (TAKE(&cursor, RECEIVED)) {
		if (take_hex(&cursor, 8, &id) && TAKE(&cursor, " seq=") && take_decimal(&cursor, &skipped) &&
		    TAKE(&cursor, " status=DONE") && take_end(&cursor, &ends->plain, take_plain_end, &pid)) {
			kind = LINE_RECEIVED;
		}
	} else if (TAKE(&cursor, INVOKED)) {
		if (take_hex(&cursor, 8, &id) && TAKE(&cursor, " data_len=") && take_decimal(&cursor, &bytes) &&
		    take_end(&cursor, &ends->invoked, take_invoked_end, &pid)) {
			kind = LINE_INVOKED;
		}
	} else if (TAKE(&cursor, RINGING)) {
		if (take_hex(&cursor, 8, &id) && take_end(&cursor, &ends->listed, take_listed_end, &pid)) {
			kind = LINE_RINGING;
		}
	}
	if (kind != LINE_TEXT) {
		*line = (struct call_line){ kind, pid, (uint32_t)id, bytes, (size_t)(cursor.at - text) };
	}
	return kind;
}
