#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

enum {
    VENDOR_NVIDIA = 0x10de,
    DEVICE_VGPU = 0x2331,
    CLASS_3D = 0x030200,
    CLASS_MASK = 0xffff00, /* the programming interface may vary */

    RESOURCE_MEMORY = 0x200, /* IORESOURCE_MEM in the kernel's ioport.h */

    CONFIG_COMMAND = 4,
    COMMAND_MEMORY_DECODE = 0x2,
    CONFIG_HEADER = 64
};

int np_open_attribute(int directory, const char *name, enum np_step step, struct np_result *result)
{
    struct stat file;
    int sysfs;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return np_fail(result, step, errno, NP_REFUSED_UNCHECKED);
    sysfs = np_on_sysfs(fd);
    if (sysfs < 0 || fstat(fd, &file) != 0) {
        np_fail(result, step, errno, NP_REFUSED_UNCHECKED);
    } else if (!sysfs || !S_ISREG(file.st_mode)) {
        np_fail(result, step, 0, NP_REFUSED_NOT_SYSFS);
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

/* Reads up to size - 1 bytes and ends them with a zero. Returns their number, or -1 with the reason in *result. */
static int read_attribute(int directory, const char *name, enum np_step step, char *bytes, size_t size,
                          struct np_result *result)
{
    size_t have = 0;
    int fd = np_open_attribute(directory, name, step, result);

    if (fd < 0)
        return -1;
    while (have < size - 1) {
        ssize_t got = read(fd, bytes + have, size - 1 - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            np_fail(result, step, errno, NP_REFUSED_UNCHECKED);
            close(fd);
            return -1;
        }
        if (got == 0)
            break;
        have += (size_t)got;
    }
    close(fd);
    bytes[have] = '\0';
    return (int)have;
}

/* "0x10de\n": exactly one number in the kernel's form. */
static int read_hex(int directory, const char *name, uint32_t *value, struct np_result *result)
{
    char text[32];
    char *end;
    unsigned long parsed;

    if (read_attribute(directory, name, NP_STEP_IDENTITY, text, sizeof text, result) < 0)
        return -1;
    errno = 0;
    parsed = text[0] == '0' && text[1] == 'x' ? strtoul(text, &end, 16) : (end = text, 0UL);
    if (errno != 0 || end <= text + 2 || (*end != '\n' && *end != '\0') || parsed > UINT32_MAX)
        return np_fail(result, NP_STEP_IDENTITY, EINVAL, NP_REFUSED_UNCHECKED);
    *value = (uint32_t)parsed;
    return 0;
}

static int check_identity(int directory, struct np_result *result)
{
    uint32_t vendor;
    uint32_t device;
    uint32_t class;

    if (read_hex(directory, "vendor", &vendor, result) != 0 || read_hex(directory, "device", &device, result) != 0 ||
        read_hex(directory, "class", &class, result) != 0)
        return -1;
    if (vendor != VENDOR_NVIDIA || device != DEVICE_VGPU)
        return np_fail(result, NP_STEP_IDENTITY, 0, NP_REFUSED_WRONG_IDS);
    if ((class & CLASS_MASK) != CLASS_3D)
        return np_fail(result, NP_STEP_IDENTITY, 0, NP_REFUSED_WRONG_CLASS);
    return 0;
}

static int check_driver(int directory, struct np_result *result)
{
    struct stat link;

    if (fstatat(directory, "driver", &link, AT_SYMLINK_NOFOLLOW) == 0)
        return np_fail(result, NP_STEP_DRIVER, 0, NP_REFUSED_DRIVER_BOUND);
    if (errno != ENOENT)
        return np_fail(result, NP_STEP_DRIVER, errno, NP_REFUSED_UNCHECKED);
    return 0;
}

/* One line of the `resource` file, "start end flags". Returns the start of the next line, NULL when it is malformed. */
static const char *check_window(const char *line, unsigned long long size, int *fits)
{
    unsigned long long field[3];

    for (int i = 0; i < 3; i++) {
        char *end;

        errno = 0;
        field[i] = strtoull(line, &end, 16);
        if (errno != 0 || end == line || *end != (i < 2 ? ' ' : '\n'))
            return NULL;
        line = end + 1;
    }
    *fits = field[1] >= field[0] && field[1] - field[0] == size - 1 && (field[2] & RESOURCE_MEMORY) != 0;
    return line;
}

static int check_node(int directory, const char *name, off_t size, struct np_result *result)
{
    struct stat node;

    if (fstatat(directory, name, &node, AT_SYMLINK_NOFOLLOW) != 0)
        return np_fail(result, NP_STEP_BARS, errno, NP_REFUSED_UNCHECKED);
    if (!S_ISREG(node.st_mode) || node.st_size != size)
        return np_fail(result, NP_STEP_BARS, 0, NP_REFUSED_WRONG_BAR_SIZE);
    return 0;
}

static int check_bars(int directory, struct np_result *result)
{
    char text[4096];
    const char *line = text;
    int bar0 = 0;
    int bar1 = 0;

    if (read_attribute(directory, "resource", NP_STEP_BARS, text, sizeof text, result) < 0)
        return -1;
    line = check_window(line, NP_BAR0_SIZE, &bar0);
    if (line != NULL)
        line = check_window(line, NP_BAR1_SIZE, &bar1);
    if (line == NULL)
        return np_fail(result, NP_STEP_BARS, EINVAL, NP_REFUSED_UNCHECKED);
    if (!bar0 || !bar1)
        return np_fail(result, NP_STEP_BARS, 0, NP_REFUSED_WRONG_BAR_SIZE);
    if (check_node(directory, "resource0", NP_BAR0_SIZE, result) != 0)
        return -1;
    return check_node(directory, "resource1", NP_BAR1_SIZE, result);
}

static int check_config(int directory, struct np_result *result)
{
    char header[CONFIG_HEADER + 1];
    const unsigned char *bytes = (const unsigned char *)header;
    int have = read_attribute(directory, "config", NP_STEP_CONFIG, header, sizeof header, result);
    int ones = 0;

    if (have < 0)
        return -1;
    if (have < CONFIG_HEADER)
        return np_fail(result, NP_STEP_CONFIG, EINVAL, NP_REFUSED_UNCHECKED);
    for (int i = 0; i < CONFIG_HEADER; i++)
        ones += bytes[i] == 0xff;
    if (ones == CONFIG_HEADER)
        return np_fail(result, NP_STEP_CONFIG, 0, NP_REFUSED_DEVICE_GONE);
    /* The kernel's copy of the ids can outlive the device: what answers now has to be the same device. */
    if ((bytes[0] | bytes[1] << 8) != VENDOR_NVIDIA || (bytes[2] | bytes[3] << 8) != DEVICE_VGPU)
        return np_fail(result, NP_STEP_CONFIG, 0, NP_REFUSED_WRONG_IDS);
    if ((bytes[CONFIG_COMMAND] & COMMAND_MEMORY_DECODE) == 0)
        return np_fail(result, NP_STEP_CONFIG, 0, NP_REFUSED_MEMORY_DECODE_OFF);
    return 0;
}

int np_check_device(int directory, struct np_result *result)
{
    if (check_identity(directory, result) != 0 || check_driver(directory, result) != 0 ||
        check_bars(directory, result) != 0)
        return -1;
    return check_config(directory, result);
}
