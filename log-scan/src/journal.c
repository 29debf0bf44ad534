// The entries of a journal file, one by one.
#include "journal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if __BYTE_ORDER != __LITTLE_ENDIAN
#error "journal files are little endian, and so has the machine to be"
#endif

static void note_line(struct journal *j, const struct entry *entry)
{
	uint64_t seqnum = load64(entry->at + ENTRY_SEQNUM);
	uint64_t realtime = load64(entry->at + ENTRY_REALTIME);
	if (j->lines == 0) {
		j->first_seqnum = seqnum;
		j->first_realtime = realtime;
		j->earliest = realtime;
		j->latest = realtime;
	}
	j->lines++;
	j->final_seqnum = seqnum;
	j->final_realtime = realtime;
	j->earliest = realtime < j->earliest ? realtime : j->earliest;
	j->latest = realtime > j->latest ? realtime : j->latest;
}

static void take_field(struct journal *j, struct entry *entry, uint64_t offset, enum field_kind kind)
{
	switch (kind) {
	case FIELD_OTHER:
		return;
	case FIELD_MESSAGE:
		if (entry->message_offset == 0) {
			entry->message_offset = offset;
		}
		return;
	case FIELD_OWN:
		unit_field(j, offset)->seen++;
		entry->own = true;
		break;
	case FIELD_ABOUT:
		unit_field(j, offset)->seen++;
		entry->about = true;
		break;
	case FIELD_KEPT:
	case FIELD_PACKED:
		break;
	}
	if (j->base[offset + 1] != 0) {
		if (entry->packed_count == PACKED_OF_ENTRY) {
			give_up(j->task, "an entry with too many compressed fields");
		}
		entry->packed[entry->packed_count++] = offset;
		return;
	}
	if (entry->field_count == FIELDS_OF_ENTRY) {
		give_up(j->task, "an entry with too many fields");
	}
	entry->fields[entry->field_count++] = offset;
}

static void take_message(struct journal *j, struct entry *entry)
{
	if (entry->message_offset == 0) {
		return;
	}
	const uint8_t *data = j->base + entry->message_offset;
	uint64_t size = load64(data + 8);
	if (data[1] != 0) {
		if (!unpack(j, entry->message_offset, data, size)) {
			give_up(j->task, "a message that changed while it was read");
		}
		entry->unpacked = true;
		entry->message = j->unpacked + 8;
		entry->message_length = j->unpacked_length - 8;
		return;
	}
	entry->message = data + payload_start(j) + 8;
	entry->message_length = (size_t)(size - payload_start(j) - 8);
}

// Takes the items before the first that is not a field of many entries, if the unit's own field is among them.
static void learn_beginning(struct journal *j, const uint8_t *items, const uint8_t *end)
{
	struct beginning *usual = &j->usual;
	size_t width = j->compact ? 4 : 16;
	const uint8_t *item = items;
	usual->items = items;
	usual->length = 0;
	usual->unit = NULL;
	usual->field_count = 0;
	for (; item < end; item += width) {
		uint64_t target = j->compact ? load32(item) : load64(item);
		const struct known_field *slot = known_slot(j, target);
		bool plain = slot->place != 0 && is_place(j, target) && j->base[target + 1] == 0;
		plain = plain && (slot->kind == FIELD_OTHER || slot->kind == FIELD_KEPT ||
			     (slot->kind == FIELD_OWN && usual->unit == NULL));
		if (!plain) {
			break;
		}
		if (slot->kind == FIELD_OWN) {
			usual->unit = unit_field(j, target);
		}
		if (slot->kind != FIELD_OTHER) {
			usual->fields[usual->field_count++] = target;
		}
	}
	usual->length = usual->unit == NULL ? 0 : (size_t)(item - items);
}

// The fields that are known, from `item` on; the others are left in `open`. Returns how many those are.
static size_t take_known(struct journal *j, struct entry *entry, const uint8_t *item, const uint8_t *end)
{
	size_t width = j->compact ? 4 : 16;
	size_t open = 0;
	for (; item < end; item += width) {
		uint64_t target = j->compact ? load32(item) : load64(item);
		const struct known_field *slot = known_slot(j, target);
		bool known = slot->place != 0 && is_place(j, target);
		if (!known) {
			if (open == sizeof j->open / sizeof j->open[0]) {
				give_up(j->task, "an entry with too many fields");
			}
			j->open[open++] = target;
		} else if (slot->kind != FIELD_OTHER) {
			take_field(j, entry, target, (enum field_kind)slot->kind);
		}
	}
	return open;
}

// A field is appended with the first entry that has it, and looked at there. Of entries that are not the unit's, the
// others are known not to say that they are.
static void take_open(struct journal *j, struct entry *entry, uint64_t previous, size_t open)
{
	for (size_t index = 0; index < open; index++) {
		if (j->open[index] > previous) {
			take_field(j, entry, j->open[index], field_at(j, j->open[index]));
		}
	}
	for (size_t index = 0; (entry->own || entry->about) && index < open; index++) {
		if (j->open[index] <= previous) {
			take_field(j, entry, j->open[index], field_at(j, j->open[index]));
		}
	}
}

// `previous`: where the entry before it is.
static void take_fields(struct journal *j, struct entry *entry, const uint8_t *end, uint64_t previous)
{
	const uint8_t *items = entry->at + ENTRY_ITEMS;
	size_t length = (size_t)(end - items);
	struct beginning *usual = &j->usual;
	bool is_usual =
		usual->length > 0 && length >= usual->length && memcmp(items, usual->items, usual->length) == 0;
	const uint8_t *rest = items;
	if (is_usual) {
		rest = items + usual->length;
		entry->own = true;
		entry->field_count = usual->field_count;
		memcpy(entry->fields, usual->fields, usual->field_count * sizeof usual->fields[0]);
		usual->unit->seen++;
	}
	take_open(j, entry, previous, take_known(j, entry, rest, end));
	if (entry->own && !is_usual) {
		learn_beginning(j, items, end);
	}
}

// What the unit's entry, or one about it, says.
static void take_line(struct journal *j, const struct entry *entry, const struct call_line *line)
{
	note_line(j, entry);
	if (line->kind != LINE_TEXT && entry->packed_count == 0 && !entry->about) {
		note_silent(j, entry);
		fold(j, entry, line);
		return;
	}
	if (entry->message_offset != 0 && !entry->unpacked) {
		verify(j, j->base + entry->message_offset, entry->message - 8, entry->message_length + 8);
	}
	bool of_shim = is_of_shim(j->wanted, entry->message, entry->message_length);
	bool of_interest = of_shim || entry->about || entry->packed_count > 0 || entry->message_length > MESSAGE_LIMIT;
	if (!of_interest && j->wanted->shim_lines_only) {
		note_silent(j, entry);
		return;
	}
	// Lines of the workload itself do not care where among the calls they stand, within one life of it.
	if (entry->about || of_shim || entry->packed_count > 0 ||
	    (j->run_count > 0 && !same_stream(&j->runs[0].first, entry))) {
		put_runs(j);
	}
	put_silent(j);
	put_entry(j, entry, 0);
}

// `previous`: where the entry before it is.
static void take_entry(struct journal *j, uint64_t offset, uint64_t previous)
{
	struct entry entry;
	uint64_t size;
	size_t width = j->compact ? 4 : 16;
	entry.at = object_at(j, offset, OBJECT_ENTRY, ENTRY_ITEMS, &size);
	entry.message = NULL;
	entry.message_length = 0;
	entry.message_offset = 0;
	entry.unpacked = false;
	entry.field_count = 0;
	entry.packed_count = 0;
	entry.own = false;
	entry.about = false;
	uint64_t seqnum = load64(entry.at + ENTRY_SEQNUM);
	if ((size - ENTRY_ITEMS) % width != 0 || entry.at[1] != 0 || seqnum <= j->last_seqnum) {
		give_up(j->task, "no sound entry at byte %llu", (unsigned long long)offset);
	}
	j->last_seqnum = seqnum;
	take_fields(j, &entry, entry.at + size, previous);
	uint64_t realtime = load64(entry.at + ENTRY_REALTIME);
	bool in_window = realtime >= j->since && realtime <= j->until;
	if (!entry.own && !(entry.about && in_window)) {
		return;
	}
	take_message(j, &entry);
	struct call_line line = { .kind = LINE_TEXT };
	if (entry.own && entry.message_offset != 0 && !entry.unpacked) {
		// Outside of the window as well: the references are counted.
		line = line_of(j, &entry);
	}
	if (in_window) {
		take_line(j, &entry, &line);
	}
}

// The first lines of an entry that is looked at soon.
static void prefetch(const struct journal *j, uint64_t entry)
{
	for (uint64_t at = entry; at < entry + 192 && at < j->size; at += 64) {
		__builtin_prefetch(j->base + at);
	}
}

static void walk_entries(struct journal *j)
{
	size_t width = j->compact ? 4 : 8;
	uint64_t left = j->task->entries;
	uint64_t array = load64(j->base + AT_ENTRY_ARRAY);
	uint64_t previous = 0;
	while (left > 0) {
		uint64_t size;
		const uint8_t *object = object_at(j, array, OBJECT_ENTRY_ARRAY, ARRAY_ITEMS + width, &size);
		uint64_t next = load64(object + 16);
		uint64_t count = (size - ARRAY_ITEMS) / width;
		const uint8_t *items = object + ARRAY_ITEMS;
		if ((size - ARRAY_ITEMS) % width != 0 || (next != 0 && next <= array)) {
			give_up(j->task, "no sound list of entries at byte %llu", (unsigned long long)array);
		}
		for (uint64_t index = 0; index < count && left > 0; index++, left--) {
			const uint8_t *item = items + index * width;
			uint64_t offset = j->compact ? load32(item) : load64(item);
			if (offset <= previous) {
				give_up(j->task, "its list of entries is out of order at byte %llu",
					(unsigned long long)array);
			}
			if (index + AHEAD < count) {
				const uint8_t *ahead = items + (index + AHEAD) * width;
				prefetch(j, j->compact ? load32(ahead) : load64(ahead));
			}
			take_entry(j, offset, previous);
			previous = offset;
		}
		if (left > 0 && next == 0) {
			give_up(j->task, "its list of entries is shorter than its header says");
		}
		array = next;
	}
	put_runs(j);
	put_silent(j);
}

static void open_journal(struct journal *j)
{
	if (j->size > FILE_LIMIT) {
		give_up(j->task, "too large");
	}
	if (j->size < HEADER_MIN || load64(j->base + AT_HEADER_SIZE) < HEADER_MIN) {
		give_up(j->task, "no header");
	}
	uint32_t flags = load32(j->base + AT_INCOMPATIBLE);
	j->compact = (flags & FLAG_COMPACT) != 0;
	j->keyed = (flags & FLAG_KEYED_HASH) != 0;
	j->online = j->base[AT_STATE] == STATE_ONLINE;
}

void scan_journal(struct task *task, const struct wanted *wanted)
{
	struct journal *j = calloc(1, sizeof *j);
	if (j == NULL) {
		give_up(task, "no memory");
	}
	j->task = task;
	j->wanted = wanted;
	j->since = wanted->since;
	j->until = wanted->until;
	j->size = (size_t)task->length;
	j->base = mmap(NULL, j->size, PROT_READ, MAP_SHARED, task->fd, 0);
	if (j->base == MAP_FAILED) {
		free(j);
		give_up(task, "it cannot be mapped");
	}
	// Whatever is held is given back to the system when the process ends; a file that is given up ends it soon.
	open_journal(j);
	groups_init(task, &j->groups);
	grow_calls(j);
	find_matches(j);
	walk_entries(j);
	check_references(j);
	put_summary(j);
	groups_free(&j->groups);
	free(j->calls);
	free(j->unpacked);
	munmap((void *)(uintptr_t)j->base, j->size);
	free(j);
}
