/*
 * native_probe: reads the registers of a vGPU's BAR0, and nothing else.
 *
 * INVARIANTS
 * - Nothing is ever written: the resource file is opened O_RDONLY and mapped PROT_READ, so a store would fault.
 * - A device is opened only when every check holds (ids, class, sizes of BAR0 and BAR1, no driver, memory decode on).
 *   A passthrough H100 has the same ids and must never be touched.
 * - Loads are volatile, aligned and 32 bits wide: any other width gives wrong values or reads a neighbour.
 * - Only listed registers are read. STATUS, whose read can cost the host a log line, is read once per handle at most.
 * - BAR1 is never opened, only its size is looked at.
 *
 * A load can stall the processor uninterruptibly while the hypervisor's device thread is busy: call this from a process
 * that can be given up. Facts: docs/wire.md, "PCI identity" and "BAR0 registers".
 */
#ifndef NATIVE_PROBE_H
#define NATIVE_PROBE_H

#include <stdint.h>

#define NP_API __attribute__((visibility("default")))

/* Raised when a struct or a function changes in a way that callers must follow. */
#define NP_ABI_VERSION 1

/* What was being done when it ended. np_step_name() gives the names. */
enum np_step {
    NP_STEP_NONE,
    NP_STEP_ARGUMENT,
    NP_STEP_DIRECTORY,
    NP_STEP_IDENTITY,
    NP_STEP_DRIVER,
    NP_STEP_BARS,
    NP_STEP_CONFIG,
    NP_STEP_OPEN,
    NP_STEP_MMAP,
    NP_STEP_READ,
    NP_STEP_COUNT
};

/* Why the device or the register was left alone. np_refusal_name() gives the names. */
enum np_refusal {
    NP_REFUSED_NOT,
    /* The path is not on sysfs. */
    NP_REFUSED_NOT_SYSFS,
    NP_REFUSED_WRONG_IDS,
    NP_REFUSED_WRONG_CLASS,
    NP_REFUSED_DRIVER_BOUND,
    NP_REFUSED_WRONG_BAR_SIZE,
    /* Configuration space reads all ones. */
    NP_REFUSED_DEVICE_GONE,
    NP_REFUSED_MEMORY_DECODE_OFF,
    /* Every identity register reads 0xffffffff. */
    NP_REFUSED_ALL_ONES,
    /* PROTOCOL_VER, in np_result.value, is not one whose registers are known. */
    NP_REFUSED_UNKNOWN_PROTOCOL,
    NP_REFUSED_REGISTER_NOT_LISTED,
    NP_REFUSED_STATUS_ALREADY_READ,
    /* A file that a check needs could not be read: `error` says why, `step` which check. */
    NP_REFUSED_UNCHECKED,
    NP_REFUSED_BAD_ARGUMENT,
    NP_REFUSED_COUNT
};

/* How a call ended. All zero when it succeeded. */
struct np_result {
    int32_t step;
    /* errno, 0 when no system call failed. */
    int32_t error;
    int32_t refusal;
    /* The value that was refused, where there is one. */
    uint32_t value;
};

/* Which registers may be read, and with which function. */
enum np_register_class { NP_REGISTER_FORBIDDEN, NP_REGISTER_SAFE, NP_REGISTER_STATUS };

struct np_handle;

NP_API uint32_t np_abi_version(void);
/* Static strings; "unknown" for a number out of range. */
NP_API const char *np_step_name(int32_t step);
NP_API const char *np_refusal_name(int32_t refusal);
/* enum np_register_class of a byte offset in BAR0. */
NP_API int32_t np_register_class(uint32_t offset);

/*
 * Checks the device in a sysfs device directory and maps its BAR0. Returns a handle for np_close(), or NULL with the
 * reason in *result.
 */
NP_API struct np_handle *np_open(const char *device_directory, struct np_result *result);
/* One 32-bit load of a safe register. Returns 0, or -1 with the reason in *result. */
NP_API int32_t np_read32(struct np_handle *handle, uint32_t offset, uint32_t *value, struct np_result *result);
/* One load of STATUS. The second call on a handle is refused. */
NP_API int32_t np_read_status(struct np_handle *handle, uint32_t *value, struct np_result *result);
NP_API void np_close(struct np_handle *handle);

#endif
