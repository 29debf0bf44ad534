/*
 * STAND-IN, for tests only. Not the vGPU shim: a small library written for the benches of this repository that keeps
 * to the shim's outside (symbols, log lines, state files, registers) and knows nothing of its inside.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* Return codes of cuda_transport_call: CUresult values; 999 stands for a failed transport. */
enum { RC_OK = 0, RC_OUT_OF_MEMORY = 2, RC_NO_DEVICE = 100, RC_TRANSPORT = 999 };

/* Call ids (docs/wire.md, "Call ids"). */
enum {
  CALL_INIT = 0x0001,
  CALL_ALLOC = 0x0030,
  CALL_FREE = 0x0031,
  CALL_HTOD = 0x0032,
  CALL_DTOH = 0x0033,
  CALL_LAUNCH = 0x0050,
  CALL_GPU_INFO = 0x00f0,
  CALL_CLEANUP = 0x00fe,
};

struct call_result {
  uint32_t status;
  uint32_t num_results;
  uint64_t results[8];
};

/* One open transport: BAR0 and BAR1 mapped, or plain files standing in for them. */
struct transport {
  char bdf[32];
  volatile uint32_t *bar0;
  volatile uint8_t *bar1;
  uint32_t vm_id;
  uint32_t next_seq;
};

/* Where the devices are listed: VGPU_STANDIN_SYSFS or the kernel's place. */
const char *devices_dir(void);
/* Looks for the device; fills bdf. False, with the shim's log line, when there is none. */
bool find_device(char *bdf, size_t size);
/* Maps the BARs; NULL with the shim's log line when that fails. The caller owns the result. */
EXPORT struct transport *cuda_transport_init(void);
EXPORT void cuda_transport_destroy(struct transport *tp);
EXPORT int cuda_transport_call(struct transport *tp, uint32_t call_id, const uint32_t *args, uint32_t num_args,
                               const void *send_data, uint32_t send_len, struct call_result *result, void *recv_data,
                               uint32_t recv_cap, uint32_t *recv_len);

/* One write(2) to stderr, as the shim does, so that lines of several threads can only merge whole. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);
/* VGPU_DEBUG is set to anything, the empty string included. */
bool debug_on(void);
__attribute__((format(printf, 2, 3))) void write_state(const char *path, const char *format, ...);
__attribute__((format(printf, 2, 3))) void append_state(const char *path, const char *format, ...);
void checkpoint(const char *phase);
void last_error(const char *code, uint32_t call_id, uint32_t error, const char *detail);

/* Answers of a device that is not there: VGPU_STANDIN_ANSWER=ok|unavail|oom|timeout, written to the plain BAR0 file. */
bool fake_answers(void);
void fake_device(struct transport *tp, const char *answer);

#endif
