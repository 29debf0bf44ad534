// Compressed payloads: messages of more than half a KiB. journald's own way (zstd) is undone here, with the library that
// journald uses, where the machine has it; other ways are for the reader of the output.
#include "journal.h"

#include <dlfcn.h>
#include <stdlib.h>

// Flags of a DATA object.
#define PACKED_ZSTD 4
// A larger payload is for the reader of the output to refuse.
#define UNPACKED_LIMIT ((unsigned long long)1 << 20)

// ZSTD_decompress and ZSTD_getFrameContentSize of libzstd's stable interface (zstd.h).
static size_t (*zstd_decompress)(void *to, size_t room, const void *from, size_t length);
static unsigned long long (*zstd_content_size)(const void *from, size_t length);

void load_zstd(void)
{
	void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		return;
	}
	// ISO C has no way from an object pointer to a function pointer; POSIX has this one.
	*(void **)&zstd_content_size = dlsym(library, "ZSTD_getFrameContentSize");
	*(void **)&zstd_decompress = zstd_content_size == NULL ? NULL : dlsym(library, "ZSTD_decompress");
}

bool unpack(struct journal *j, uint64_t offset, const uint8_t *data, uint64_t size)
{
	if (j->unpacked_offset == offset) {
		return true;
	}
	if (zstd_decompress == NULL || data[1] != PACKED_ZSTD) {
		return false;
	}
	const uint8_t *packed = data + payload_start(j);
	size_t length = (size_t)(size - payload_start(j));
	// Both errors of it (not known, not a frame) are larger than any size.
	unsigned long long content = zstd_content_size(packed, length);
	if (content == 0 || content > UNPACKED_LIMIT) {
		return false;
	}
	if (content > j->unpacked_room) {
		uint8_t *room = realloc(j->unpacked, (size_t)content);
		if (room == NULL) {
			give_up(j->task, "no memory");
		}
		j->unpacked = room;
		j->unpacked_room = (size_t)content;
	}
	j->unpacked_offset = 0;
	if (zstd_decompress(j->unpacked, j->unpacked_room, packed, length) != content) {
		give_up(j->task, "data that cannot be decompressed at byte %llu", (unsigned long long)offset);
	}
	j->unpacked_length = (size_t)content;
	verify(j, data, j->unpacked, j->unpacked_length);
	j->unpacked_offset = offset;
	return true;
}
