/* STAND-IN, for tests only: the device's side of a call, for benches where resource0 is a plain file. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool fake_answers(void) { return getenv("VGPU_STANDIN_ANSWER") != NULL; }

void fake_device(struct transport *tp, const char *answer) {
  static uint64_t next_pointer = 0x7f9a58000000;
  volatile uint32_t *bar0 = tp->bar0;
  uint32_t call_id = bar0[0x080 / 4];
  struct timespec now;
  bar0[0x0a8 / 4] = 0;
  bar0[0x014 / 4] = 0;
  bar0[0x01c / 4] = 0;
  bar0[0x0f0 / 4] = bar0[0x0f4 / 4] = bar0[0x0f8 / 4] = 0;
  bar0[0x004 / 4] = 1;
  if (strcmp(answer, "timeout") == 0) return;
  if (strcmp(answer, "unavail") == 0) {
    bar0[0x014 / 4] = 3;
    bar0[0x004 / 4] = 3;
    return;
  }
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t micros = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
  bar0[0x034 / 4] = (uint32_t)micros;
  bar0[0x038 / 4] = (uint32_t)(micros >> 32);
  bar0[0x01c / 4] = 1;
  bar0[0x0f4 / 4] = 1;
  if (strcmp(answer, "oom") == 0 && call_id == CALL_ALLOC) {
    bar0[0x0f0 / 4] = RC_OUT_OF_MEMORY;
    bar0[0x014 / 4] = 5;
    bar0[0x004 / 4] = 3;
    return;
  }
  uint64_t value = call_id == CALL_GPU_INFO ? 81079 : 1;
  if (call_id == CALL_ALLOC) {
    value = next_pointer;
    next_pointer += 0x10000;
  }
  bar0[0x900 / 4] = (uint32_t)value;
  bar0[0x904 / 4] = (uint32_t)(value >> 32);
  bar0[0x004 / 4] = 2;
}
