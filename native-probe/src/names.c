#include "internal.h"

static const char *const step_names[NP_STEP_COUNT] = {
    [NP_STEP_NONE] = "none",     [NP_STEP_ARGUMENT] = "argument", [NP_STEP_DIRECTORY] = "directory",
    [NP_STEP_IDENTITY] = "identity", [NP_STEP_DRIVER] = "driver", [NP_STEP_BARS] = "bars",
    [NP_STEP_CONFIG] = "config", [NP_STEP_OPEN] = "open",         [NP_STEP_MMAP] = "mmap",
    [NP_STEP_READ] = "read",
};

static const char *const refusal_names[NP_REFUSED_COUNT] = {
    [NP_REFUSED_NOT] = "none",
    [NP_REFUSED_NOT_SYSFS] = "not-sysfs",
    [NP_REFUSED_WRONG_IDS] = "wrong-ids",
    [NP_REFUSED_WRONG_CLASS] = "wrong-class",
    [NP_REFUSED_DRIVER_BOUND] = "driver-bound",
    [NP_REFUSED_WRONG_BAR_SIZE] = "wrong-bar-size",
    [NP_REFUSED_DEVICE_GONE] = "device-gone",
    [NP_REFUSED_MEMORY_DECODE_OFF] = "memory-decode-off",
    [NP_REFUSED_ALL_ONES] = "all-ones",
    [NP_REFUSED_UNKNOWN_PROTOCOL] = "unknown-protocol",
    [NP_REFUSED_REGISTER_NOT_LISTED] = "register-not-listed",
    [NP_REFUSED_STATUS_ALREADY_READ] = "status-already-read",
    [NP_REFUSED_UNCHECKED] = "unchecked",
    [NP_REFUSED_BAD_ARGUMENT] = "bad-argument",
};

uint32_t np_abi_version(void)
{
    return NP_ABI_VERSION;
}

const char *np_step_name(int32_t step)
{
    return step >= 0 && step < NP_STEP_COUNT ? step_names[step] : "unknown";
}

const char *np_refusal_name(int32_t refusal)
{
    return refusal >= 0 && refusal < NP_REFUSED_COUNT ? refusal_names[refusal] : "unknown";
}

int np_fail(struct np_result *result, enum np_step step, int error, enum np_refusal refusal)
{
    result->step = (int32_t)step;
    result->error = error;
    result->refusal = (int32_t)refusal;
    return -1;
}
