// Reads one journal file (systemd's JOURNAL_FILE_FORMAT) along its list of entries: what the parts of that share.
//
// Each entry is looked at with all its fields. What a field is, is looked up once where many entries have it. Entries of
// the unit with a line of per-call logging are folded; the others are handed on with their message and the fields that
// the reader of the output wants. Whatever does not fit ends the task: the file is then read by a reader that can say
// what is wrong with it. Nothing here may be trusted to be inside of the file, or to be what it should be.
#ifndef LOG_SCAN_JOURNAL_H
#define LOG_SCAN_JOURNAL_H

#include "scan.h"

enum object_type { OBJECT_DATA = 1, OBJECT_ENTRY = 3, OBJECT_ENTRY_ARRAY = 6 };

// The header.
#define FLAG_KEYED_HASH 4u
#define FLAG_COMPACT 16u
#define AT_INCOMPATIBLE 12
#define AT_STATE 16
#define AT_FILE_ID 24
#define AT_HEADER_SIZE 88
#define AT_DATA_TABLE 104
#define AT_DATA_TABLE_SIZE 112
#define AT_ENTRIES 152
#define AT_ENTRY_ARRAY 176
#define HEADER_MIN 208
#define STATE_ONLINE 1

// Objects.
#define OBJECT_HEADER 16u
#define DATA_HASH 16
#define DATA_NEXT 24
#define DATA_ENTRIES 56
#define ENTRY_SEQNUM 16
#define ENTRY_REALTIME 24
#define ENTRY_MONOTONIC 32
#define ENTRY_BOOT 40
#define ENTRY_XOR 56
#define ENTRY_ITEMS 64u
#define ARRAY_ITEMS 24u

// Fields with fewer entries are looked at each time: they would only push others out.
#define WORTH_KEEPING 4
#define KNOWN_FIELDS 8192
#define FILE_LIMIT ((uint64_t)8 << 32)
#define KNOWN_CALLS_LIMIT (1u << 20)
#define FIELDS_OF_ENTRY 64
#define PACKED_OF_ENTRY 16
#define RUNS 16
// Entries that memory is asked for before they are looked at.
#define AHEAD 12
#define UNIT_FIELDS 32
#define CHAIN_LIMIT 100000u
// Microseconds: lines that are not handed on are told of in numbers for so long a time.
#define SILENT_SPAN 200000u

enum field_kind { FIELD_OTHER, FIELD_KEPT, FIELD_OWN, FIELD_ABOUT, FIELD_MESSAGE, FIELD_PACKED };

// Small, so that all that are in use stay near the processor. `place` is the offset in units of 8 bytes, 0 for none.
struct known_field {
	uint32_t place;
	uint8_t kind;
	bool sent;
};

// A DATA object that says that an entry is of the unit, or about it, with the entries that were seen to have it.
struct unit_field {
	uint64_t offset;
	uint64_t seen;
};

// A DATA object with an INVOKED line.
struct known_call {
	uint64_t offset;
	uint64_t seen;
	struct call_line line;
};

struct entry {
	const uint8_t *at;
	const uint8_t *message;
	size_t message_length;
	uint64_t message_offset;
	// It was compressed, and lies where the next one will.
	bool unpacked;
	size_t field_count;
	size_t packed_count;
	uint64_t fields[FIELDS_OF_ENTRY];
	uint64_t packed[PACKED_OF_ENTRY];
	bool own;
	bool about;
};

// How the items of the unit's entries begin, mostly: the fields that all of them have, in the order of the file.
struct beginning {
	const uint8_t *items;
	size_t length;
	struct unit_field *unit;
	size_t field_count;
	uint64_t fields[FIELDS_OF_ENTRY];
};

// Lines of one kind, of one process, in one stream, that nothing else stands between.
struct run {
	uint32_t count;
	enum line_kind kind;
	uint32_t pid;
	struct entry first;
	struct entry last;
};

struct journal {
	struct task *task;
	const struct wanted *wanted;
	const uint8_t *base;
	size_t size;
	bool compact;
	bool keyed;
	bool online;
	uint64_t since;
	uint64_t until;
	struct known_field known[KNOWN_FIELDS];
	size_t known_count;
	struct unit_field units[UNIT_FIELDS];
	size_t unit_count;
	struct beginning usual;
	// Fields of the entry at hand that are not known yet.
	uint64_t open[256];
	struct known_call *calls;
	size_t call_room;
	size_t call_count;
	struct run runs[RUNS];
	size_t run_count;
	// Lines that were not handed on, and when the first of them was written.
	uint64_t silent_since;
	uint32_t silent_lines;
	struct call_groups groups;
	// The last DATA that was decompressed, and its payload.
	uint64_t unpacked_offset;
	uint8_t *unpacked;
	size_t unpacked_length;
	size_t unpacked_room;
	struct line_ends ends;
	uint64_t last_seqnum;
	uint64_t lines;
	uint64_t first_seqnum;
	uint64_t final_seqnum;
	uint64_t first_realtime;
	uint64_t final_realtime;
	uint64_t earliest;
	uint64_t latest;
};

// journal-fields.c

// `length` bytes of the file.
const uint8_t *bytes_at(const struct journal *j, uint64_t offset, uint64_t length, const char *what);
// An object and its size.
const uint8_t *object_at(const struct journal *j, uint64_t offset, enum object_type type, uint64_t least, uint64_t *size);
void verify(const struct journal *j, const uint8_t *data, const uint8_t *payload, size_t length);
struct unit_field *unit_field(struct journal *j, uint64_t offset);
// What the field at an offset is.
enum field_kind field_at(struct journal *j, uint64_t offset);
// Finds the fields that say that an entry is the unit's where the file has them listed: a writer that stopped half-way
// leaves fields that no entry has yet.
void find_matches(struct journal *j);
// Each field counts the entries that refer to it: as many have to have been seen.
void check_references(const struct journal *j);
void grow_calls(struct journal *j);
// The line that the entry's message is; an INVOKED line is looked into once.
struct call_line line_of(struct journal *j, const struct entry *entry);

// An offset that an object in the file can have: the places of known fields say no more than its low bits.
static inline bool is_place(const struct journal *j, uint64_t offset)
{
	return offset % 8 == 0 && offset < j->size;
}

static inline uint64_t payload_start(const struct journal *j)
{
	return j->compact ? 72 : 64;
}

// Where a field is, or would be, among those that many entries have.
static inline struct known_field *known_slot(struct journal *j, uint64_t offset)
{
	uint32_t place = (uint32_t)(offset >> 3);
	size_t slot = place * 0x9e3779b1u >> 19;
	while (j->known[slot].place != 0 && j->known[slot].place != place) {
		slot = (slot + 1) % KNOWN_FIELDS;
	}
	return &j->known[slot];
}

// journal-unpack.c

// Decompresses the payload of a DATA object, and compares it with its hash. False where it cannot be decompressed here.
bool unpack(struct journal *j, uint64_t offset, const uint8_t *data, uint64_t size);

// journal-output.c

// Hands an entry on. `folded`: lines that it stands for; 0 for a line that was not folded.
void put_entry(struct journal *j, const struct entry *entry, uint32_t folded);
// The first and the last line of each run, in the order of the file: what comes next may depend on the last of all.
void put_runs(struct journal *j);
void fold(struct journal *j, const struct entry *entry, const struct call_line *line);
// Whether two entries are of the same stream of the same boot.
bool same_stream(const struct entry *one, const struct entry *other);
// Lines that are not handed on are told of in numbers.
void note_silent(struct journal *j, const struct entry *entry);
void put_silent(struct journal *j);
void put_summary(struct journal *j);

#endif
