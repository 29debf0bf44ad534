// The fields of journal entries: DATA objects, each of which many entries can refer to.
#include "journal.h"

#include <stdlib.h>
#include <string.h>

const uint8_t *bytes_at(const struct journal *j, uint64_t offset, uint64_t length, const char *what)
{
	if (offset > j->size || length > j->size - offset) {
		give_up(j->task, "%s at byte %llu is not in the file", what, (unsigned long long)offset);
	}
	return j->base + offset;
}

const uint8_t *object_at(const struct journal *j, uint64_t offset, enum object_type type, uint64_t least,
				uint64_t *size)
{
	if (offset % 8 != 0 || offset < HEADER_MIN) {
		give_up(j->task, "no object can be at byte %llu", (unsigned long long)offset);
	}
	const uint8_t *object = bytes_at(j, offset, OBJECT_HEADER, "an object");
	*size = load64(object + 8);
	if (object[0] != type || *size < least) {
		give_up(j->task, "no such object at byte %llu", (unsigned long long)offset);
	}
	return bytes_at(j, offset, *size, "an object");
}

void verify(const struct journal *j, const uint8_t *data, const uint8_t *payload, size_t length)
{
	uint64_t hash = j->keyed ? siphash24(j->base + AT_FILE_ID, payload, length) : jenkins_hash64(payload, length);
	if (hash != load64(data + DATA_HASH)) {
		give_up(j->task, "data that does not match its hash at byte %llu",
			(unsigned long long)(data - j->base));
	}
}

static uint64_t hash_of(const struct journal *j, const char *text)
{
	const uint8_t *bytes = (const uint8_t *)text;
	return j->keyed ? siphash24(j->base + AT_FILE_ID, bytes, strlen(text)) : jenkins_hash64(bytes, strlen(text));
}

static bool is_message(const uint8_t *payload, size_t length)
{
	return length >= 8 && memcmp(payload, "MESSAGE=", 8) == 0;
}

struct unit_field *unit_field(struct journal *j, uint64_t offset)
{
	for (size_t index = 0; index < j->unit_count; index++) {
		if (j->units[index].offset == offset) {
			return &j->units[index];
		}
	}
	if (j->unit_count == UNIT_FIELDS) {
		give_up(j->task, "a field that should be one object is many");
	}
	j->units[j->unit_count] = (struct unit_field){ .offset = offset };
	return &j->units[j->unit_count++];
}

static bool is_kept(const struct wanted *wanted, const uint8_t *payload, size_t length)
{
	for (size_t index = 0; length >= 4 && index < wanted->kept_count; index++) {
		if (wanted->kept[index] == load32(payload)) {
			return true;
		}
	}
	return false;
}

static enum field_kind match_of(size_t index)
{
	return index == 0 ? FIELD_OWN : FIELD_ABOUT;
}

// What a DATA object is for this scan, by its payload or, where that is compressed, by its hash.
static enum field_kind kind_of(struct journal *j, uint64_t offset, const uint8_t *data, uint64_t size)
{
	const uint8_t *payload = data + payload_start(j);
	size_t length = (size_t)(size - payload_start(j));
	if (data[1] != 0) {
		for (size_t index = 0; index < j->wanted->match_count; index++) {
			if (hash_of(j, j->wanted->matches[index]) == load64(data + DATA_HASH)) {
				unit_field(j, offset);
				return match_of(index);
			}
		}
		if (!unpack(j, offset, data, size)) {
			return FIELD_PACKED;
		}
		if (is_message(j->unpacked, j->unpacked_length)) {
			return FIELD_MESSAGE;
		}
		// What is handed on as it is stored is rare: a field that is short, and compressed all the same.
		return is_kept(j->wanted, j->unpacked, j->unpacked_length) ? FIELD_PACKED : FIELD_OTHER;
	}
	if (is_message(payload, length)) {
		return FIELD_MESSAGE;
	}
	// Times of the writer: a new one for each entry, and not what a field of the unit can turn into by damage.
	if (length > 8 && memcmp(payload, "_SOURCE_", 8) == 0) {
		return FIELD_OTHER;
	}
	verify(j, data, payload, length);
	for (size_t index = 0; index < j->wanted->match_count; index++) {
		const char *match = j->wanted->matches[index];
		if (strlen(match) == length && memcmp(payload, match, length) == 0) {
			unit_field(j, offset);
			return match_of(index);
		}
	}
	return is_kept(j->wanted, payload, length) ? FIELD_KEPT : FIELD_OTHER;
}

enum field_kind field_at(struct journal *j, uint64_t offset)
{
	struct known_field *slot = known_slot(j, offset);
	if (slot->place != 0 && is_place(j, offset)) {
		return (enum field_kind)slot->kind;
	}
	uint64_t size;
	const uint8_t *data = object_at(j, offset, OBJECT_DATA, payload_start(j) + 1, &size);
	enum field_kind kind = kind_of(j, offset, data, size);
	bool worth = kind == FIELD_OWN || kind == FIELD_ABOUT ||
		     (kind != FIELD_MESSAGE && load64(data + DATA_ENTRIES) > WORTH_KEEPING);
	if (worth && j->known_count < KNOWN_FIELDS / 2 + (kind == FIELD_OWN || kind == FIELD_ABOUT ? UNIT_FIELDS : 0)) {
		*slot = (struct known_field){ .place = (uint32_t)(offset >> 3), .kind = (uint8_t)kind };
		j->known_count++;
	}
	return kind;
}

void find_matches(struct journal *j)
{
	uint64_t table = load64(j->base + AT_DATA_TABLE);
	uint64_t size = load64(j->base + AT_DATA_TABLE_SIZE);
	if (size == 0 || size % 16 != 0) {
		give_up(j->task, "no table of fields");
	}
	const uint8_t *buckets = bytes_at(j, table, size, "the table of fields");
	for (size_t index = 0; index < j->wanted->match_count; index++) {
		uint64_t hash = hash_of(j, j->wanted->matches[index]);
		uint64_t offset = load64(buckets + hash % (size / 16) * 16);
		for (unsigned steps = 0; offset != 0; steps++) {
			uint64_t length;
			const uint8_t *data = object_at(j, offset, OBJECT_DATA, payload_start(j) + 1, &length);
			if (load64(data + DATA_HASH) == hash) {
				field_at(j, offset);
			}
			if (steps == CHAIN_LIMIT) {
				give_up(j->task, "its table of fields does not end");
			}
			offset = load64(data + DATA_NEXT);
		}
	}
}

// Known INVOKED lines: open addressing by offset.
static struct known_call *call_slot(const struct journal *j, uint64_t offset)
{
	size_t slot = (size_t)((offset >> 3) * 0x9e3779b97f4a7c15u >> 32) & (j->call_room - 1);
	while (j->calls[slot].offset != 0 && j->calls[slot].offset != offset) {
		slot = (slot + 1) & (j->call_room - 1);
	}
	return &j->calls[slot];
}

void grow_calls(struct journal *j)
{
	struct known_call *old = j->calls;
	size_t old_room = j->call_room;
	if (old_room >= KNOWN_CALLS_LIMIT) {
		give_up(j->task, "too many different calls");
	}
	j->call_room = old_room == 0 ? 1024 : 2 * old_room;
	j->calls = calloc(j->call_room, sizeof *j->calls);
	if (j->calls == NULL) {
		j->calls = old;
		give_up(j->task, "no memory");
	}
	for (size_t index = 0; index < old_room; index++) {
		if (old[index].offset != 0) {
			*call_slot(j, old[index].offset) = old[index];
		}
	}
	free(old);
}

struct call_line line_of(struct journal *j, const struct entry *entry)
{
	struct call_line line;
	const uint8_t *data = j->base + entry->message_offset;
	struct known_call *known = call_slot(j, entry->message_offset);
	if (known->offset != 0) {
		known->seen++;
		return known->line;
	}
	if (parse_call_line(entry->message, entry->message_length, false, &j->ends, &line) != LINE_INVOKED) {
		return line;
	}
	verify(j, data, entry->message - 8, entry->message_length + 8);
	*known = (struct known_call){ .offset = entry->message_offset, .seen = 1, .line = line };
	j->call_count++;
	if (j->call_count * 2 > j->call_room) {
		grow_calls(j);
	}
	return line;
}

void check_references(const struct journal *j)
{
	// A writer appends an entry, and lists it after that.
	uint64_t now = load64(j->base + AT_ENTRIES);
	uint64_t grown = j->online && now >= j->task->entries ? now - j->task->entries + 1 : 0;
	for (size_t index = 0; index < j->unit_count; index++) {
		uint64_t counted = load64(j->base + j->units[index].offset + DATA_ENTRIES);
		uint64_t seen = j->units[index].seen;
		if (counted + (j->online ? 1 : 0) < seen || counted > seen + grown) {
			give_up(j->task, "the field at byte %llu counts other entries than there are",
				(unsigned long long)j->units[index].offset);
		}
	}
	for (size_t index = 0; index < j->call_room; index++) {
		const struct known_call *call = &j->calls[index];
		if (call->offset == 0) {
			continue;
		}
		uint64_t counted = load64(j->base + call->offset + DATA_ENTRIES);
		if (counted + (j->online ? 1 : 0) < call->seen || counted > call->seen + grown) {
			give_up(j->task, "the message at byte %llu counts other entries than there are",
				(unsigned long long)call->offset);
		}
	}
}
