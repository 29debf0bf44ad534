#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

struct np_handle {
    const volatile uint32_t *bar0;
    int status_read;
};

static uint32_t load(const struct np_handle *handle, uint32_t offset)
{
    return handle->bar0[offset / 4];
}

/* The registers that are constant for a device have to be those of a device that we know. */
static int check_registers(const struct np_handle *handle, struct np_result *result)
{
    static const uint32_t identity[] = {NP_REG_CAPABILITIES, NP_REG_VM_ID, NP_REG_POOL_ID, NP_REG_PRIORITY};
    uint32_t protocol = load(handle, NP_REG_PROTOCOL_VER);
    uint32_t all = protocol;

    if (protocol == NP_PROTOCOL_VERSION)
        return 0;
    result->value = protocol;
    if (protocol == UINT32_MAX) {
        for (size_t i = 0; i < sizeof identity / sizeof identity[0]; i++)
            all &= load(handle, identity[i]);
        if (all == UINT32_MAX)
            return np_fail(result, NP_STEP_READ, 0, NP_REFUSED_ALL_ONES);
    }
    return np_fail(result, NP_STEP_READ, 0, NP_REFUSED_UNKNOWN_PROTOCOL);
}

/* Maps BAR0 of a checked device directory. Returns NULL with the reason in *result. */
static void *map_bar0(int directory, struct np_result *result)
{
    struct stat file;
    void *bar0 = MAP_FAILED;
    int fd = np_open_attribute(directory, "resource0", NP_STEP_OPEN, result);

    if (fd < 0) {
        /* Not being allowed to open it is the answer, not a check that failed. */
        if (result->refusal == NP_REFUSED_UNCHECKED)
            result->refusal = NP_REFUSED_NOT;
        return NULL;
    }
    if (fstat(fd, &file) != 0 || file.st_size != NP_BAR0_SIZE) {
        np_fail(result, NP_STEP_OPEN, 0, NP_REFUSED_WRONG_BAR_SIZE);
    } else {
        bar0 = mmap(NULL, NP_BAR0_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        if (bar0 == MAP_FAILED)
            np_fail(result, NP_STEP_MMAP, errno, NP_REFUSED_NOT);
    }
    close(fd);
    return bar0 == MAP_FAILED ? NULL : bar0;
}

static struct np_handle *open_checked(int directory, struct np_result *result)
{
    struct np_handle *handle;
    int sysfs = np_on_sysfs(directory);

    if (sysfs < 0) {
        np_fail(result, NP_STEP_DIRECTORY, errno, NP_REFUSED_UNCHECKED);
        return NULL;
    }
    if (!sysfs) {
        np_fail(result, NP_STEP_DIRECTORY, 0, NP_REFUSED_NOT_SYSFS);
        return NULL;
    }
    if (np_check_device(directory, result) != 0)
        return NULL;
    handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        np_fail(result, NP_STEP_ARGUMENT, ENOMEM, NP_REFUSED_NOT);
        return NULL;
    }
    handle->bar0 = map_bar0(directory, result);
    if (handle->bar0 == NULL || check_registers(handle, result) != 0) {
        np_close(handle);
        return NULL;
    }
    return handle;
}

struct np_handle *np_open(const char *device_directory, struct np_result *result)
{
    struct np_handle *handle;
    int directory;

    if (result == NULL)
        return NULL;
    memset(result, 0, sizeof *result);
    if (device_directory == NULL) {
        np_fail(result, NP_STEP_ARGUMENT, 0, NP_REFUSED_BAD_ARGUMENT);
        return NULL;
    }
    /* Everything below is relative to this descriptor: what was checked is what is opened. */
    directory = open(device_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    if (directory < 0) {
        np_fail(result, NP_STEP_DIRECTORY, errno, NP_REFUSED_NOT);
        return NULL;
    }
    handle = open_checked(directory, result);
    close(directory);
    return handle;
}

static int32_t read_register(struct np_handle *handle, uint32_t offset, int32_t wanted_class, uint32_t *value,
                             struct np_result *result)
{
    if (result == NULL)
        return -1;
    memset(result, 0, sizeof *result);
    if (handle == NULL || value == NULL)
        return np_fail(result, NP_STEP_ARGUMENT, 0, NP_REFUSED_BAD_ARGUMENT);
    result->value = offset;
    if (np_register_class(offset) != wanted_class)
        return np_fail(result, NP_STEP_READ, 0, NP_REFUSED_REGISTER_NOT_LISTED);
    if (wanted_class == NP_REGISTER_STATUS && handle->status_read++ != 0)
        return np_fail(result, NP_STEP_READ, 0, NP_REFUSED_STATUS_ALREADY_READ);
    *value = load(handle, offset);
    result->value = 0;
    return 0;
}

int32_t np_read32(struct np_handle *handle, uint32_t offset, uint32_t *value, struct np_result *result)
{
    return read_register(handle, offset, NP_REGISTER_SAFE, value, result);
}

int32_t np_read_status(struct np_handle *handle, uint32_t *value, struct np_result *result)
{
    return read_register(handle, NP_REG_STATUS, NP_REGISTER_STATUS, value, result);
}

void np_close(struct np_handle *handle)
{
    if (handle == NULL)
        return;
    if (handle->bar0 != NULL)
        munmap((void *)(uintptr_t)handle->bar0, NP_BAR0_SIZE);
    free(handle);
}
