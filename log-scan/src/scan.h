// log-scan: finds, in journal files and plain logs, the lines that have to be looked at, and folds the lines that
// per-call debug logging writes by the million; and, in a mediator's log, the calls that are like others. Its output is
// read by src/native/log-scan.ts and src/native/mediator-scan.ts, which document it.
#ifndef LOG_SCAN_H
#define LOG_SCAN_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes of one message that are handed on: MESSAGE_LIMIT of the program that reads the output.
#define MESSAGE_LIMIT ((size_t)64 << 10)

// Lines that VGPU_DEBUG makes for every call, in the one shape that they have today. Any other shape is text.
enum line_kind { LINE_TEXT, LINE_INVOKED, LINE_SENDING, LINE_RINGING, LINE_RECEIVED };

struct call_line {
	enum line_kind kind;
	uint32_t pid;
	uint32_t call_id;
	uint64_t data_length;
	// Bytes of the line itself.
	size_t length;
};

// How the last line of a kind ended.
struct line_end {
	uint8_t text[96];
	size_t length;
	uint32_t pid;
};

struct line_ends {
	struct line_end invoked;
	struct line_end plain;
	struct line_end listed;
};

// The line that `text` is or, with `of_lines`, that it begins with. LINE_TEXT leaves `line` as it was, but for its kind.
enum line_kind parse_call_line(const uint8_t *text, size_t length, bool of_lines, struct line_ends *ends,
			       struct call_line *line);

// A part of the work that is handed on as one piece and in order: a journal file, or a stretch of a plain file.
struct task {
	unsigned index;
	int fd;
	uint64_t from;
	uint64_t length;
	// Of a journal file, the entries that its header counted when it was opened; of a plain file, its size.
	uint64_t entries;
	// What is to be written for it.
	uint8_t *out;
	size_t used;
	size_t room;
	// Where the record that is being written starts.
	size_t start;
	bool done;
	jmp_buf gave_up;
	char doubt[120];
};

// Anything that a sound file does not have: the task ends, and its file is read in another way.
_Noreturn void give_up(struct task *task, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Records: type (1 byte), three zero bytes, length of what follows (u32), and what follows, padded to 4 bytes.
void record_begin(struct task *task, char type);
void record_end(struct task *task);
void put_bytes(struct task *task, const void *bytes, size_t length);
void put_u32(struct task *task, uint32_t value);
void put_u64(struct task *task, uint64_t value);
void put_text(struct task *task, const void *text, size_t length);

// Calls of one process by one call id.
struct call_group {
	uint32_t pid;
	uint32_t call_id;
	uint64_t count;
	uint64_t bytes;
	// Of the first and the last: microseconds of the epoch in a journal, 0 in a plain file.
	uint64_t first;
	uint64_t last;
};

#define GROUP_LIMIT 8192

struct call_groups {
	struct call_group *groups;
	uint32_t count;
	// Index + 1 of a group by the hash of its key.
	uint16_t *slots;
	uint64_t debug_lines;
	uint64_t debug_bytes;
};

void groups_init(struct task *task, struct call_groups *groups);
void groups_add(struct task *task, struct call_groups *groups, const struct call_line *line, uint64_t at);
void groups_put(struct task *task, const struct call_groups *groups);
void groups_free(struct call_groups *groups);

// What is looked for in journal files.
#define MATCHES 8
#define KEPT_STARTS 16
#define WORDS 128

struct word {
	const char *text;
	size_t length;
};

struct wanted {
	// "FIELD=value": the first is on the unit's own lines, the others on lines about it.
	const char *matches[MATCHES];
	size_t match_count;
	// First four bytes of the fields that are handed on with a line.
	uint32_t kept[KEPT_STARTS];
	size_t kept_count;
	uint64_t since;
	uint64_t until;
	// Words that tell a line that may be a shim's, of two bytes at least; and the pairs of bytes that they start with.
	struct word words[WORDS];
	size_t word_count;
	uint64_t starts[1 << 10];
	// Of the unit's own lines, hand on those of the shims alone.
	bool shim_lines_only;
};

void add_word(struct wanted *wanted, const char *word);
// Whether a line may be a shim's.
bool is_of_shim(const struct wanted *wanted, const uint8_t *text, size_t length);

void scan_journal(struct task *task, const struct wanted *wanted);
void scan_text(struct task *task, const struct wanted *wanted);
void scan_mediator(struct task *task, const struct wanted *wanted);

// Hashes of a journal's payloads: SipHash-2-4 with the file id as the key, and Jenkins' lookup3.
uint64_t siphash24(const uint8_t key[16], const uint8_t *bytes, size_t length);
uint64_t jenkins_hash64(const uint8_t *bytes, size_t length);

// Finds what decompresses a journal's long messages; to be called before the sandbox is entered.
void load_zstd(void);

// Gives up every right that reading what is mapped already does not need.
void enter_sandbox(void);

static inline uint32_t load32(const uint8_t *at)
{
	uint32_t value;
	__builtin_memcpy(&value, at, sizeof value);
	return value;
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t value;
	__builtin_memcpy(&value, at, sizeof value);
	return value;
}

#endif
