// Reads a stretch of a plain log file: whole lines, from the first that starts in it.
#include "scan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RUNS 16

struct line {
	uint64_t offset;
	const uint8_t *text;
	size_t length;
};

struct run {
	uint32_t count;
	enum line_kind kind;
	uint32_t pid;
	struct line first;
	struct line last;
};

// What is mapped of the file.
struct stretch {
	uint64_t offset;
	const uint8_t *base;
	size_t size;
	bool to_the_end;
};

struct text {
	struct task *task;
	const struct wanted *wanted;
	// A line with a time was handed on; the last of those that were passed over since.
	bool timed;
	struct line last_timed;
	struct run runs[RUNS];
	size_t run_count;
	uint64_t lines;
	struct call_groups groups;
	struct line_ends ends;
};

static void put_line(struct task *task, const struct line *line, uint32_t folded)
{
	record_begin(task, 'L');
	put_u32(task, folded);
	put_u64(task, line->offset);
	put_text(task, line->text, line->length);
	record_end(task);
}

struct run_end {
	const struct line *line;
	uint32_t folded;
};

static int by_place(const void *one, const void *other)
{
	const struct run_end *a = one;
	const struct run_end *b = other;
	return a->line->offset < b->line->offset ? -1 : 1;
}

// The first and the last line of each run, in the order of the file: what comes next may depend on the last of all.
static void put_runs(struct text *t)
{
	struct run_end ends[2 * RUNS];
	size_t count = 0;
	for (size_t index = 0; index < t->run_count; index++) {
		const struct run *run = &t->runs[index];
		ends[count++] = (struct run_end){ &run->first, 1 };
		if (run->count > 1) {
			ends[count++] = (struct run_end){ &run->last, run->count - 1 };
		}
	}
	qsort(ends, count, sizeof ends[0], by_place);
	for (size_t index = 0; index < count; index++) {
		put_line(t->task, ends[index].line, ends[index].folded);
	}
	t->run_count = 0;
}

static void fold(struct text *t, const struct line *line, const struct call_line *call)
{
	t->lines++;
	groups_add(t->task, &t->groups, call, 0);
	for (size_t index = 0; index < t->run_count; index++) {
		struct run *run = &t->runs[index];
		if (run->kind == call->kind && run->pid == call->pid) {
			run->last = *line;
			run->count++;
			return;
		}
	}
	if (t->run_count == RUNS) {
		put_runs(t);
	}
	t->runs[t->run_count++] = (struct run){ 1, call->kind, call->pid, *line, *line };
}

static void put_last_timed(struct text *t)
{
	if (t->last_timed.text != NULL) {
		put_line(t->task, &t->last_timed, 0);
		t->last_timed.text = NULL;
	}
}

// Of the lines that are passed over, the first and the last that may start with a time tell what the file covers.
static void note_timed(struct text *t, const struct line *line)
{
	bool digits = line->length > 8 && line->text[0] >= '0' && line->text[0] <= '9';
	if (!digits && (line->length < 8 || (memcmp(line->text, "[GIN] ", 6) != 0 && memcmp(line->text, "time=", 5) != 0))) {
		return;
	}
	if (t->timed) {
		t->last_timed = *line;
	} else {
		put_line(t->task, line, 0);
	}
	t->timed = true;
}

static void take_line(struct text *t, const struct line *line)
{
	t->lines++;
	// What makes lines hard to tell is for the reader that says so.
	if (line->length > MESSAGE_LIMIT) {
		give_up(t->task, "a line that is longer than is read");
	}
	if (memchr(line->text, 0, line->length) != NULL) {
		give_up(t->task, "bytes that are not text");
	}
	if (t->wanted->shim_lines_only && !is_of_shim(t->wanted, line->text, line->length)) {
		note_timed(t, line);
		return;
	}
	put_runs(t);
	put_last_timed(t);
	put_line(t->task, line, 0);
}

static void take_lines(struct text *t, const uint8_t *at, const uint8_t *last, const struct stretch *stretch)
{
	const uint8_t *stop = stretch->base + stretch->size;
	struct call_line call;
	while (at < last) {
		struct line line = { .offset = stretch->offset + (uint64_t)(at - stretch->base), .text = at };
		if (parse_call_line(at, (size_t)(stop - at), true, &t->ends, &call) != LINE_TEXT) {
			line.length = call.length;
			fold(t, &line, &call);
		} else {
			const uint8_t *newline = memchr(at, '\n', (size_t)(stop - at));
			if (newline == NULL && !stretch->to_the_end) {
				give_up(t->task, "a line that is longer than is read");
			}
			line.length = (size_t)((newline == NULL ? stop : newline) - at);
			take_line(t, &line);
		}
		at += line.length + 1;
	}
	put_runs(t);
	put_last_timed(t);
}

static void put_summary(struct task *task, const struct text *t)
{
	groups_put(task, &t->groups);
	record_begin(task, 'S');
	put_u64(task, t->lines);
	put_u64(task, t->groups.debug_lines);
	put_u64(task, t->groups.debug_bytes);
	record_end(task);
}

void scan_text(struct task *task, const struct wanted *wanted)
{
	struct text *t = calloc(1, sizeof *t);
	if (t == NULL) {
		give_up(task, "no memory");
	}
	t->task = task;
	t->wanted = wanted;
	// One byte before it: a line starts where the one before ends. And the last line may end far behind it.
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t start = task->from == 0 ? 0 : task->from - 1;
	uint64_t end = task->from + task->length;
	struct stretch stretch = { .offset = start - start % page };
	uint64_t room = task->entries - stretch.offset;
	uint64_t reach = end + MESSAGE_LIMIT + 2 - stretch.offset;
	stretch.to_the_end = reach >= room;
	stretch.size = (size_t)(stretch.to_the_end ? room : reach);
	stretch.base = mmap(NULL, stretch.size, PROT_READ, MAP_SHARED, task->fd, (off_t)stretch.offset);
	if (stretch.base == MAP_FAILED) {
		free(t);
		give_up(task, "it cannot be mapped");
	}
	groups_init(task, &t->groups);
	const uint8_t *at = stretch.base + (start - stretch.offset);
	const uint8_t *last = stretch.base + (end - stretch.offset);
	if (task->from != 0) {
		const uint8_t *newline = memchr(at, '\n', stretch.size - (size_t)(at - stretch.base));
		at = newline == NULL ? last : newline + 1;
	}
	take_lines(t, at, last, &stretch);
	put_summary(task, t);
	groups_free(&t->groups);
	munmap((void *)(uintptr_t)stretch.base, stretch.size);
	free(t);
}
