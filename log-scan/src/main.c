// Usage: log-scan journal|text|mediator [--match FIELD=VALUE]... [--keep WORD]... [--word WORD]... [--lines all|shim]
//                                  [--since US] [--until US] --file FD SIZE ENTRIES [--file ...]
//
// Files are open descriptors: the program opens nothing. It writes records to its standard output (scan.h), a file
// after the other, in the order given.
#include "scan.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TASK_LIMIT 4096
#define THREADS 4
// Bytes of one stretch of a plain file: enough of them that no thread waits for long, few enough to be told of.
#define LEAST_STRETCH ((uint64_t)8 << 20)
#define MOST_STRETCH ((uint64_t)16 << 20)
#define STRETCHES 8
// Bytes of records that wait for their turn, of one task; and of all tasks that wait finished.
#define WAITING ((size_t)4 << 20)
#define ALL_WAITING ((size_t)24 << 20)

static const struct wanted *wanted_of_all;
// How a task is done, and whether its files are cut into stretches.
static void (*scan)(struct task *, const struct wanted *);
static bool in_stretches;
static struct task *tasks;
static unsigned task_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static unsigned next_task;
// The task whose records may be written.
static unsigned turn;
// Bytes of tasks that are done and were not written.
static size_t waiting;

// A file became shorter while it was read: what was found of it is worth nothing.
static void on_bus_error(int number)
{
	(void)number;
	_exit(3);
}

_Noreturn static void fail(const char *what)
{
	fprintf(stderr, "log-scan: %s\n", what);
	exit(2);
}

_Noreturn void give_up(struct task *task, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(task->doubt, sizeof task->doubt, format, arguments);
	va_end(arguments);
	longjmp(task->gave_up, 1);
}

static void write_out(struct task *task)
{
	size_t written = 0;
	while (written < task->used) {
		ssize_t result = write(STDOUT_FILENO, task->out + written, task->used - written);
		if (result < 0 && errno != EINTR) {
			_exit(4);
		}
		written += result > 0 ? (size_t)result : 0;
	}
	task->used = 0;
}

static void wait_for_turn(const struct task *task)
{
	pthread_mutex_lock(&lock);
	while (turn != task->index) {
		pthread_cond_wait(&turned, &lock);
	}
	pthread_mutex_unlock(&lock);
}

static void reserve(struct task *task, size_t more)
{
	if (task->used + more <= task->room) {
		return;
	}
	size_t room = 2 * (task->room + more);
	uint8_t *grown = realloc(task->out, room);
	if (grown == NULL) {
		give_up(task, "no memory");
	}
	task->out = grown;
	task->room = room;
}

void put_bytes(struct task *task, const void *bytes, size_t length)
{
	reserve(task, length);
	memcpy(task->out + task->used, bytes, length);
	task->used += length;
}

void put_u32(struct task *task, uint32_t value)
{
	put_bytes(task, &value, sizeof value);
}

void put_u64(struct task *task, uint64_t value)
{
	put_bytes(task, &value, sizeof value);
}

void put_text(struct task *task, const void *text, size_t length)
{
	static const uint8_t padding[4];
	put_u32(task, (uint32_t)length);
	if (length > 0) {
		put_bytes(task, text, length);
	}
	put_bytes(task, padding, (4 - length % 4) % 4);
}

void record_begin(struct task *task, char type)
{
	const uint8_t head[8] = { (uint8_t)type };
	task->start = task->used;
	put_bytes(task, head, sizeof head);
}

void record_end(struct task *task)
{
	uint32_t length = (uint32_t)(task->used - task->start - 8);
	memcpy(task->out + task->start + 4, &length, sizeof length);
	if (task->used > WAITING) {
		wait_for_turn(task);
		write_out(task);
	}
}

static void put_doubt(struct task *task)
{
	// What was not written yet may end in the middle of a record.
	task->used = 0;
	record_begin(task, 'D');
	put_text(task, task->doubt, strlen(task->doubt));
	record_end(task);
}

static void run(struct task *task)
{
	if (setjmp(task->gave_up) != 0) {
		put_doubt(task);
	} else {
		scan(task, wanted_of_all);
	}
}

// Leaves the records to who writes them. What is ahead of the others waits while there is too much of that.
static void finish(struct task *task)
{
	pthread_mutex_lock(&lock);
	while (task->index != turn && waiting > ALL_WAITING) {
		pthread_cond_wait(&turned, &lock);
	}
	task->done = true;
	waiting += task->used;
	pthread_cond_broadcast(&turned);
	pthread_mutex_unlock(&lock);
}

// Writes what tasks leave, in their order: who reads it may take its time, and the tasks go on meanwhile.
static void write_in_order(void)
{
	pthread_mutex_lock(&lock);
	while (turn < task_count) {
		struct task *task = &tasks[turn];
		if (!task->done) {
			pthread_cond_wait(&turned, &lock);
			continue;
		}
		size_t length = task->used;
		pthread_mutex_unlock(&lock);
		write_out(task);
		free(task->out);
		task->out = NULL;
		pthread_mutex_lock(&lock);
		waiting -= length;
		turn++;
		pthread_cond_broadcast(&turned);
	}
	pthread_mutex_unlock(&lock);
}

static void *work(void *nothing)
{
	(void)nothing;
	for (;;) {
		pthread_mutex_lock(&lock);
		unsigned mine = next_task++;
		pthread_mutex_unlock(&lock);
		if (mine >= task_count) {
			return NULL;
		}
		run(&tasks[mine]);
		finish(&tasks[mine]);
	}
}

// Without threads.
static void work_alone(void)
{
	for (; turn < task_count; turn++) {
		run(&tasks[turn]);
		write_out(&tasks[turn]);
		free(tasks[turn].out);
	}
}

static uint64_t number(const char *text)
{
	char *end;
	errno = 0;
	unsigned long long value = text == NULL ? 0 : strtoull(text, &end, 10);
	if (text == NULL || *text < '0' || *text > '9' || *end != 0 || errno != 0) {
		fail("a number is missing");
	}
	return value;
}

static void add_task(int fd, uint64_t from, uint64_t length, uint64_t entries)
{
	if (task_count == TASK_LIMIT) {
		fail("too many files");
	}
	tasks[task_count] =
		(struct task){ .index = task_count, .fd = fd, .from = from, .length = length, .entries = entries };
	task_count++;
}

static void add_file(int fd, uint64_t size, uint64_t entries)
{
	if (size > SSIZE_MAX / 2) {
		fail("too large a file");
	}
	if (!in_stretches) {
		add_task(fd, 0, size, entries);
		return;
	}
	uint64_t stretch = size / STRETCHES + 1;
	stretch = stretch < LEAST_STRETCH ? LEAST_STRETCH : stretch > MOST_STRETCH ? MOST_STRETCH : stretch;
	stretch = size / stretch >= TASK_LIMIT ? size / (TASK_LIMIT - 1) + 1 : stretch;
	for (uint64_t from = 0; from < size; from += stretch) {
		add_task(fd, from, size - from < stretch ? size - from : stretch, size);
	}
}

static void parse(int count, char **arguments, struct wanted *wanted)
{
	for (int index = 2; index < count; index++) {
		const char *option = arguments[index];
		const char *value = index + 1 < count ? arguments[++index] : NULL;
		if (value == NULL) {
			fail("an option without a value");
		}
		if (strcmp(option, "--lines") == 0) {
			wanted->shim_lines_only = strcmp(value, "shim") == 0;
		} else if (strcmp(option, "--match") == 0 && wanted->match_count < MATCHES) {
			wanted->matches[wanted->match_count++] = value;
		} else if (strcmp(option, "--word") == 0 && strlen(value) > 1 && wanted->word_count < WORDS) {
			add_word(wanted, value);
		} else if (strcmp(option, "--keep") == 0 && strlen(value) == 4 && wanted->kept_count < KEPT_STARTS) {
			wanted->kept[wanted->kept_count++] = load32((const uint8_t *)value);
		} else if (strcmp(option, "--since") == 0) {
			wanted->since = number(value);
		} else if (strcmp(option, "--until") == 0) {
			wanted->until = number(value);
		} else if (strcmp(option, "--file") == 0 && index + 2 < count) {
			uint64_t fd = number(value);
			if (fd > INT_MAX) {
				fail("no descriptor");
			}
			add_file((int)fd, number(arguments[index + 1]), number(arguments[index + 2]));
			index += 2;
		} else {
			fail("an option that is not known");
		}
	}
}

static void choose_scan(const char *mode)
{
	if (strcmp(mode, "journal") == 0) {
		scan = scan_journal;
	} else if (strcmp(mode, "text") == 0) {
		scan = scan_text;
	} else if (strcmp(mode, "mediator") == 0) {
		scan = scan_mediator;
	} else {
		fail("it is started by vgpu-agent");
	}
	in_stretches = scan != scan_journal;
}

int main(int count, char **arguments)
{
	static struct wanted wanted = { .until = UINT64_MAX };
	pthread_t threads[THREADS];
	choose_scan(count > 1 ? arguments[1] : "");
	tasks = calloc(TASK_LIMIT, sizeof *tasks);
	if (tasks == NULL) {
		fail("no memory");
	}
	parse(count, arguments, &wanted);
	wanted_of_all = &wanted;
	struct sigaction action = { .sa_handler = on_bus_error };
	sigaction(SIGBUS, &action, NULL);
	signal(SIGPIPE, SIG_DFL);
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wished = processors < 1 ? 1 : processors > THREADS ? THREADS : (unsigned)processors;
	load_zstd();
	enter_sandbox();
	unsigned started = 0;
	while (started < wished && started < task_count &&
	       pthread_create(&threads[started], NULL, work, NULL) == 0) {
		started++;
	}
	if (started == 0) {
		work_alone();
	} else {
		write_in_order();
	}
	for (unsigned index = 0; index < started; index++) {
		pthread_join(threads[index], NULL);
	}
	// All is told: nobody has to wait for the end of the process.
	struct task end = { .index = task_count };
	record_begin(&end, 'Z');
	record_end(&end);
	write_out(&end);
	return 0;
}
