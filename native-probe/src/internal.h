/* What the files of the library share. Not installed. */
#ifndef NP_INTERNAL_H
#define NP_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "native_probe.h"

enum {
    NP_BAR0_SIZE = 4096,
    NP_BAR1_SIZE = 16 * 1024 * 1024,

    NP_REG_STATUS = 0x004,
    NP_REG_POOL_ID = 0x008,
    NP_REG_PRIORITY = 0x00c,
    NP_REG_VM_ID = 0x010,
    NP_REG_PROTOCOL_VER = 0x020,
    NP_REG_CAPABILITIES = 0x024,

    NP_PROTOCOL_VERSION = 0x00010000
};

/* Fills *result and returns -1, so that a check can end with `return np_fail(...)`. */
int np_fail(struct np_result *result, enum np_step step, int error, enum np_refusal refusal);

/* 1 when the open file is on sysfs, 0 when it is not, -1 with errno set when that could not be found out. */
int np_on_sysfs(int fd);

/* Opens a regular file of the device directory for reading, no links followed. Returns a descriptor or -1 and *result. */
int np_open_attribute(int directory, const char *name, enum np_step step, struct np_result *result);

/* All that has to hold before BAR0 may be opened. Returns 0, or -1 with the reason in *result. */
int np_check_device(int directory, struct np_result *result);

#endif
