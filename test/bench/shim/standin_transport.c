/* STAND-IN, for tests only: the transport half. Registers: docs/wire.md, "Registers". */
#include "standin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
  BAR0_SIZE = 4096,
  BAR1_SIZE = 16 << 20,
  STATUS = 0x004,
  VM_ID = 0x010,
  ERROR_CODE = 0x014,
  SCRATCH = 0x03c,
  CUDA_OP = 0x080,
  CUDA_SEQ = 0x084,
  CUDA_NUM_ARGS = 0x088,
  CUDA_DATA_LEN = 0x08c,
  CUDA_DOORBELL = 0x0a8,
  CUDA_ARGS = 0x0b0,
  RESULT_STATUS = 0x0f0,
  RESULT_NUM = 0x0f4,
  RESULT_DATA_LEN = 0x0f8,
  REQUEST_DATA = 0x100,
  REQUEST_WINDOW = 0x400,
  RESPONSE_DATA = 0x500,
  RESULTS = 0x900,
  MAX_ARGS = 16,
  MIRROR = 0xfffffc,
  DONE = 2,
  ERROR = 3,
  CHUNK = 65536,
};

static const char LOCK_FILE[] = "/var/tmp/vgpu_transport.lock";

static uint32_t load(const struct transport *tp, unsigned offset) { return tp->bar0[offset / 4]; }
static void store(struct transport *tp, unsigned offset, uint32_t value) { tp->bar0[offset / 4] = value; }

const char *devices_dir(void) {
  const char *other = getenv("VGPU_STANDIN_SYSFS");
  return other != NULL ? other : "/sys/bus/pci/devices";
}

static unsigned read_hex(const char *bdf, const char *name) {
  char path[512], text[32] = "";
  snprintf(path, sizeof path, "%s/%s/%s", devices_dir(), bdf, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  if (read(fd, text, sizeof text - 1) < 0) text[0] = '\0';
  close(fd);
  return (unsigned)strtoul(text, NULL, 16);
}

bool find_device(char *bdf, size_t size) {
  int scanned = 0;
  DIR *dir = opendir(devices_dir());
  if (dir == NULL) {
    log_line("[cuda-transport] Cannot open %s: %s", devices_dir(), strerror(errno));
    return false;
  }
  bool found = false;
  for (struct dirent *entry; !found && (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    scanned++;
    unsigned vendor = read_hex(entry->d_name, "vendor"), device = read_hex(entry->d_name, "device");
    unsigned class = read_hex(entry->d_name, "class");
    found = vendor == 0x10de && device == 0x2331 && (class & 0xffff00) == 0x030200;
    if (found) snprintf(bdf, size, "%.31s", entry->d_name);
    if (found && debug_on())
      log_line("[cuda-transport] Found VGPU-STUB at %s (vendor=0x%04x device=0x%04x class=0x%06x match=exact)", bdf, vendor,
               device, class);
  }
  closedir(dir);
  if (!found)
    log_line("[cuda-transport] VGPU-STUB not found in /sys/bus/pci/devices (scanned %d devices, want vendor=0x10de "
             "device=0x2331 OR QEMU-vendor with class=0x030200)", scanned);
  return found;
}

/* Maps resourceN; NULL with errno. *path_out holds the path for the log line. */
static volatile void *map_bar(const char *bdf, int bar, size_t size, char *path_out, size_t path_size, const char **step) {
  snprintf(path_out, path_size, "%s/%s/resource%d", devices_dir(), bdf, bar);
  *step = "open";
  int fd = open(path_out, O_RDWR | O_SYNC | O_CLOEXEC);
  if (fd < 0) return NULL;
  *step = "mmap";
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int error = errno;
  close(fd);
  errno = error;
  return memory == MAP_FAILED ? NULL : memory;
}

static bool is_engine_runner(void) {
  char text[1024];
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t used = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (used <= 0) return false;
  text[used] = '\0';
  for (char *word = text; word < text + used; word += strlen(word) + 1)
    if (strcmp(word, "--ollama-engine") == 0) return true;
  return false;
}

static void explain_data_path(void) {
  const char *disabled = getenv("VGPU_DISABLE_SHMEM");
  log_line("[cuda-transport] build-config shmem_default_mb=256 shmem_min_mb=1");
  if (disabled != NULL && *disabled != '\0' && strcmp(disabled, "0") != 0)
    log_line("[cuda-transport] SHMEM disabled by VGPU_DISABLE_SHMEM=%s — using BAR1", disabled);
  else if (is_engine_runner())
    log_line("[cuda-transport] SHMEM disabled for --ollama-engine helper pid=%d; using BAR1/inline only", getpid());
  else
    log_line("[cuda-transport] SHMEM owner already held by another process; pid=%d using BAR1/inline only", getpid());
}

EXPORT struct transport *cuda_transport_init(void) {
  char path[600];
  const char *step = "";
  struct transport *tp = calloc(1, sizeof *tp);
  if (tp == NULL) return NULL;
  checkpoint("INIT_START");
  if (!find_device(tp->bdf, sizeof tp->bdf)) {
    log_line("[cuda-transport] VGPU-STUB device not found");
    last_error("DEVICE_NOT_FOUND", 0, 0, "no VGPU-STUB in /sys/bus/pci/devices");
    goto failed;
  }
  checkpoint("DEVICE_FOUND");
  tp->bar0 = map_bar(tp->bdf, 0, BAR0_SIZE, path, sizeof path, &step);
  if (tp->bar0 == NULL) {
    bool opened = strcmp(step, "mmap") == 0;
    if (opened) log_line("[cuda-transport] Cannot mmap BAR0: %s", strerror(errno));
    else log_line("[cuda-transport] Cannot open BAR0: %s (%s)", path, strerror(errno));
    last_error(opened ? "BAR0_MMAP_FAILED" : "BAR0_OPEN_FAILED", 0, (uint32_t)errno, path);
    goto failed;
  }
  checkpoint("BAR0_OPENED");
  explain_data_path();
  tp->bar1 = map_bar(tp->bdf, 1, BAR1_SIZE, path, sizeof path, &step);
  if (tp->bar1 != NULL && debug_on()) log_line("[cuda-transport] BAR1 mapped (16 MB legacy data region)");
  tp->vm_id = load(tp, VM_ID);
  tp->next_seq = 1;
  log_line("[cuda-transport] Connected (vm_id=%u) data_path=%s status_from=%s", tp->vm_id,
           tp->bar1 != NULL ? "BAR1" : "BAR0-inline", tp->bar1 != NULL ? "BAR1-status-mirror" : "BAR0");
  if (debug_on()) log_line("[cuda-transport] (debug logging on)");
  append_state("/tmp/vgpu_cuda_owner_pids", "%d", getpid());
  checkpoint("TRANSPORT_READY");
  return tp;
failed:
  free(tp);
  return NULL;
}

EXPORT void cuda_transport_destroy(struct transport *tp) {
  munmap((void *)tp->bar0, BAR0_SIZE);
  if (tp->bar1 != NULL) munmap((void *)tp->bar1, BAR1_SIZE);
  free(tp);
}

static const char *call_name(uint32_t call_id) {
  switch (call_id) {
    case CALL_INIT: return "cuInit";
    case CALL_ALLOC: return "cuMemAlloc_v2";
    case CALL_FREE: return "cuMemFree_v2";
    case CALL_HTOD: return "cuMemcpyHtoD_v2";
    case CALL_DTOH: return "cuMemcpyDtoH_v2";
    case CALL_LAUNCH: return "cuLaunchKernel";
    case CALL_GPU_INFO: return "cuGetGpuInfo";
    default: return "?(call_id)";
  }
}

static const char *error_name(uint32_t error) {
  static const char *const names[] = {"NONE",         "INVALID_REQUEST", "REQUEST_TOO_LARGE", "MEDIATOR_UNAVAIL",
                                      "TIMEOUT",      "CUDA_ERROR",      "INVALID_POOL",      "QUEUE_FULL",
                                      "UNSUPPORTED_OP", "INVALID_LENGTH", "RATE_LIMITED",      "VM_QUARANTINED"};
  return error < sizeof names / sizeof *names ? names[error] : "UNKNOWN";
}

/* Milliseconds to poll, and the seconds that the log line names: the shim's floor is 120 s, which no test can wait. */
static unsigned poll_limit_ms(unsigned *named_seconds) {
  const char *set = getenv("CUDA_TRANSPORT_TIMEOUT_SEC"), *shortened = getenv("VGPU_STANDIN_TIMEOUT_MS");
  unsigned seconds = set != NULL ? (unsigned)atoi(set) : 60;
  *named_seconds = seconds < 120 ? 120 : seconds;
  return shortened != NULL ? (unsigned)atoi(shortened) : *named_seconds * 1000;
}

static void put_request_data(struct transport *tp, const uint8_t *data, uint32_t length) {
  bool inline_data = length <= REQUEST_WINDOW || tp->bar1 == NULL;
  for (uint32_t at = 0; at < length && (!inline_data || at < REQUEST_WINDOW); at += 4) {
    uint32_t word = 0;
    memcpy(&word, data + at, length - at < 4 ? length - at : 4);
    if (inline_data) store(tp, REQUEST_DATA + at, word);
    else ((volatile uint32_t *)tp->bar1)[at / 4] = word;
  }
}

static uint32_t wait_for_status(struct transport *tp, unsigned limit_ms) {
  const struct timespec pause = {.tv_nsec = 2000000};
  for (unsigned waited = 0; waited < limit_ms; waited += 2) {
    bool mirrored = tp->bar1 != NULL && !fake_answers();
    uint32_t status = mirrored ? ((volatile uint32_t *)tp->bar1)[MIRROR / 4] : load(tp, STATUS);
    if (status == DONE || status == ERROR) return status;
    nanosleep(&pause, NULL);
  }
  return 0;
}

static int report_error(struct transport *tp, uint32_t call_id, uint32_t seq, struct call_result *result) {
  uint32_t error = load(tp, ERROR_CODE), host_status = load(tp, RESULT_STATUS);
  char detail[128];
  result->num_results = load(tp, RESULT_NUM);
  log_line("[cuda-transport] STATUS_ERROR: call=%s(0x%04x) seq=%u err=0x%08x(%s) vm_id=%u", call_name(call_id), call_id, seq,
           error, error_name(error), tp->vm_id);
  if (error != 5) {
    snprintf(detail, sizeof detail, "seq=%u vm_id=%u %s", seq, tp->vm_id, error_name(error));
    last_error(error_name(error), call_id, error, detail);
    return RC_TRANSPORT;
  }
  log_line("[cuda-transport] STATUS_ERROR host-cuda: call=%s(0x%04x) seq=%u host_status=0x%08x", call_name(call_id), call_id,
           seq, host_status);
  snprintf(detail, sizeof detail, "host_cuda_status=0x%x seq=%u", host_status, seq);
  last_error("CUDA_CALL_FAILED", call_id, host_status, detail);
  return (int)host_status;
}

/* One round trip over the registers. */
static int round_trip(struct transport *tp, uint32_t call_id, const uint32_t *args, uint32_t num_args, const void *data,
                      uint32_t length, struct call_result *result, void *recv_data, uint32_t recv_cap, uint32_t *recv_len) {
  unsigned named_seconds, limit_ms = poll_limit_ms(&named_seconds);
  uint32_t seq = tp->next_seq++;
  if (debug_on())
    log_line("[cuda-transport] SENDING to VGPU-STUB: call_id=0x%04x seq=%u args=%u data_len=%u (pid=%d)", call_id, seq,
             num_args, length, getpid());
  store(tp, SCRATCH, (uint32_t)getpid());
  store(tp, CUDA_OP, call_id);
  store(tp, CUDA_SEQ, seq);
  store(tp, CUDA_NUM_ARGS, num_args);
  store(tp, CUDA_DATA_LEN, length);
  for (uint32_t i = 0; i < num_args && i < MAX_ARGS; i++) store(tp, CUDA_ARGS + 4 * i, args[i]);
  if (data != NULL) put_request_data(tp, data, length);
  if (debug_on())
    log_line("[cuda-transport] RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x%04x, pid=%d)", call_id, getpid());
  store(tp, CUDA_DOORBELL, 1);
  if (fake_answers()) fake_device(tp, getenv("VGPU_STANDIN_ANSWER"));

  uint32_t status = wait_for_status(tp, limit_ms);
  if (status == 0) {
    log_line("[cuda-transport] Timeout on call 0x%04x (seq=%u) after %us", call_id, seq, named_seconds);
    last_error("TRANSPORT_TIMEOUT", call_id, 4, "no answer");
    return RC_TRANSPORT;
  }
  if (status == ERROR) return report_error(tp, call_id, seq, result);
  result->status = load(tp, RESULT_STATUS);
  result->num_results = load(tp, RESULT_NUM);
  for (unsigned i = 0; i < 8 && i < result->num_results; i++)
    result->results[i] = (uint64_t)load(tp, RESULTS + 8 * i + 4) << 32 | load(tp, RESULTS + 8 * i);
  uint32_t got = load(tp, RESULT_DATA_LEN);
  for (uint32_t at = 0; recv_data != NULL && at + 4 <= got && at + 4 <= recv_cap && at < REQUEST_WINDOW; at += 4) {
    uint32_t word = load(tp, RESPONSE_DATA + at);
    memcpy((uint8_t *)recv_data + at, &word, 4);
  }
  if (recv_len != NULL) *recv_len = got;
  if (call_id != CALL_HTOD && debug_on())
    log_line("[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x%04x seq=%u status=DONE (pid=%d)", call_id, seq, getpid());
  return (int)result->status;
}

static __attribute__((noinline)) int cuda_transport_call_impl(struct transport *tp, uint32_t call_id, const uint32_t *args,
                                                              uint32_t num_args, const void *send_data, uint32_t send_len,
                                                              struct call_result *result, void *recv_data, uint32_t recv_cap,
                                                              uint32_t *recv_len) {
  static bool first_call_done;
  int rc = RC_OK;
  if (debug_on())
    log_line("[cuda-transport] cuda_transport_call() INVOKED: call_id=0x%04x data_len=%u tp=%p bar0=%p (pid=%d)", call_id,
             send_len, (void *)tp, (void *)tp->bar0, getpid());
  int lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock >= 0) flock(lock, LOCK_EX);
  uint32_t offset = 0;
  do {
    uint32_t part = send_len - offset < CHUNK ? send_len - offset : CHUNK;
    const uint8_t *from = send_data == NULL ? NULL : (const uint8_t *)send_data + offset;
    rc = round_trip(tp, call_id, args, num_args, from, part, result, recv_data, recv_cap, recv_len);
    if (rc != RC_OK && send_len > CHUNK)
      log_line("[cuda-transport] HTOD chunk failed at offset=%u chunk=%u total=%u rc=%d", offset, part, send_len, rc);
    offset += part;
  } while (rc == RC_OK && offset < send_len);
  if (lock >= 0) close(lock);
  if (rc == RC_OK && !first_call_done) {
    first_call_done = true;
    checkpoint("FIRST_CALL");
  }
  return rc;
}

/* With -O2 and CET this is `endbr64; jmp cuda_transport_call_impl`, as in the builds in the field. */
EXPORT int cuda_transport_call(struct transport *tp, uint32_t call_id, const uint32_t *args, uint32_t num_args,
                               const void *send_data, uint32_t send_len, struct call_result *result, void *recv_data,
                               uint32_t recv_cap, uint32_t *recv_len) {
  return cuda_transport_call_impl(tp, call_id, args, num_args, send_data, send_len, result, recv_data, recv_cap, recv_len);
}
