// What is told of a journal file.
#include "journal.h"

#include <stdlib.h>
#include <string.h>

static void put_field(struct journal *j, uint64_t offset)
{
	struct known_field *slot = known_slot(j, offset);
	if (slot->place != 0) {
		if (slot->sent) {
			return;
		}
		slot->sent = true;
	}
	const uint8_t *data = j->base + offset;
	size_t length = (size_t)(load64(data + 8) - payload_start(j));
	record_begin(j->task, 'F');
	put_u64(j->task, offset);
	put_text(j->task, data + payload_start(j), length < 512 ? length : 512);
	record_end(j->task);
}

void put_entry(struct journal *j, const struct entry *entry, uint32_t folded)
{
	struct task *task = j->task;
	for (size_t index = 0; index < entry->field_count; index++) {
		put_field(j, entry->fields[index]);
	}
	record_begin(task, 'E');
	put_u32(task, folded);
	put_u32(task, entry->message_length > MESSAGE_LIMIT);
	put_u64(task, (uint64_t)(entry->at - j->base));
	put_bytes(task, entry->at + ENTRY_SEQNUM, ENTRY_ITEMS - ENTRY_SEQNUM);
	put_u64(task, entry->message_offset);
	put_u32(task, (uint32_t)entry->field_count);
	put_u32(task, (uint32_t)entry->packed_count);
	for (size_t index = 0; index < entry->field_count; index++) {
		put_u64(task, entry->fields[index]);
	}
	size_t length = entry->message_length < MESSAGE_LIMIT ? entry->message_length : MESSAGE_LIMIT;
	put_text(task, entry->message, length);
	for (size_t index = 0; index < entry->packed_count; index++) {
		const uint8_t *data = j->base + entry->packed[index];
		put_u32(task, data[1]);
		put_u64(task, load64(data + DATA_HASH));
		put_u64(task, entry->packed[index]);
		put_text(task, data + payload_start(j), (size_t)(load64(data + 8) - payload_start(j)));
	}
	record_end(task);
}

struct run_end {
	const struct entry *line;
	uint32_t folded;
};

static int by_place(const void *one, const void *other)
{
	const struct run_end *a = one;
	const struct run_end *b = other;
	return a->line->at < b->line->at ? -1 : 1;
}

void put_runs(struct journal *j)
{
	struct run_end ends[2 * RUNS];
	size_t count = 0;
	for (size_t index = 0; index < j->run_count; index++) {
		const struct run *run = &j->runs[index];
		ends[count++] = (struct run_end){ &run->first, 1 };
		if (run->count > 1) {
			ends[count++] = (struct run_end){ &run->last, run->count - 1 };
		}
	}
	qsort(ends, count, sizeof ends[0], by_place);
	for (size_t index = 0; index < count; index++) {
		put_entry(j, ends[index].line, ends[index].folded);
	}
	j->run_count = 0;
}

bool same_stream(const struct entry *one, const struct entry *other)
{
	return one->field_count == other->field_count &&
	       memcmp(one->fields, other->fields, one->field_count * sizeof one->fields[0]) == 0 &&
	       memcmp(one->at + ENTRY_BOOT, other->at + ENTRY_BOOT, 16) == 0;
}

static void copy_entry(struct entry *to, const struct entry *from)
{
	memcpy(to, from, offsetof(struct entry, fields) + from->field_count * sizeof from->fields[0]);
}

void fold(struct journal *j, const struct entry *entry, const struct call_line *line)
{
	uint64_t realtime = load64(entry->at + ENTRY_REALTIME);
	groups_add(j->task, &j->groups, line, realtime);
	for (size_t index = 0; index < j->run_count; index++) {
		struct run *run = &j->runs[index];
		if (run->kind == line->kind && run->pid == line->pid && same_stream(&run->first, entry)) {
			copy_entry(&run->last, entry);
			run->count++;
			return;
		}
	}
	if (j->run_count == RUNS) {
		put_runs(j);
	}
	struct run *run = &j->runs[j->run_count++];
	run->count = 1;
	run->kind = line->kind;
	run->pid = line->pid;
	copy_entry(&run->first, entry);
}

void put_silent(struct journal *j)
{
	if (j->silent_lines == 0) {
		return;
	}
	record_begin(j->task, 'T');
	put_u64(j->task, j->silent_since);
	put_u32(j->task, j->silent_lines);
	record_end(j->task);
	j->silent_lines = 0;
}

void note_silent(struct journal *j, const struct entry *entry)
{
	uint64_t realtime = load64(entry->at + ENTRY_REALTIME);
	if (j->silent_lines > 0 && realtime / SILENT_SPAN != j->silent_since / SILENT_SPAN) {
		put_silent(j);
	}
	if (j->silent_lines == 0) {
		j->silent_since = realtime;
	}
	j->silent_lines++;
}

void put_summary(struct journal *j)
{
	groups_put(j->task, &j->groups);
	record_begin(j->task, 'S');
	put_u64(j->task, j->lines);
	put_u64(j->task, j->groups.debug_lines);
	put_u64(j->task, j->groups.debug_bytes);
	put_u64(j->task, j->first_seqnum);
	put_u64(j->task, j->final_seqnum);
	put_u64(j->task, j->first_realtime);
	put_u64(j->task, j->final_realtime);
	put_u64(j->task, j->earliest);
	put_u64(j->task, j->latest);
	record_end(j->task);
}
