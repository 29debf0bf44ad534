/*
 * bench-bar-read RESOURCE_FILE WIDTH OFFSET… : maps a BAR read-only and prints one line per register, "0xOFFSET 0xVALUE".
 * The bench's own witness. WIDTH is the width of the loads in bytes: 4 is right, the others show what a careless reader does.
 * A failure prints "open ERRNO" or "mmap ERRNO" and exits with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int fail(const char *step) {
  printf("%s %s\n", step, strerrorname_np(errno));
  return 1;
}

static uint64_t load(const volatile uint8_t *at, int width) {
  switch (width) {
    case 1: return *at;
    case 2: return *(const volatile uint16_t *)at;
    case 8: return *(const volatile uint64_t *)at;
    default: return *(const volatile uint32_t *)at;
  }
}

int main(int argc, char **argv) {
  struct stat status;
  if (argc < 4) return 2;
  int width = atoi(argv[2]), fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) != 0) return fail("open");
  const uint8_t *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return fail("mmap");
  for (int i = 3; i < argc; i++) {
    unsigned long offset = strtoul(argv[i], NULL, 0);
    printf("0x%03lx 0x%08llx\n", offset, (unsigned long long)load(memory + offset, width));
  }
  return 0;
}
