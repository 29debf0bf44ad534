/*
 * Tests of the library on directories made of ordinary files (plain_files.c stands in for the sysfs check), and of the
 * shipped library, given as the argument, which must refuse those directories.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

static int failures;
static int checks;
static char root[] = "/tmp/native-probe-test.XXXXXX";
static char device[256];

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        checks++;                                                                                                      \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
        }                                                                                                              \
    } while (0)

static const char *in_device(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", device, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t size)
{
    int fd;

    unlink(in_device(name));
    fd = open(in_device(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void put_node(const char *name, off_t size)
{
    put(name, "", 0);
    if (truncate(in_device(name), size) != 0)
        abort();
}

static const char good_resource[] = "0x00000000fe000000 0x00000000fe000fff 0x0000000000040200\n"
                                    "0x00000000fd000000 0x00000000fdffffff 0x0000000000040200\n"
                                    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

static void put_config(unsigned char fill, unsigned char command, size_t size)
{
    unsigned char config[64];

    memset(config, fill, sizeof config);
    if (fill != 0xff) {
        config[0] = 0xde;
        config[1] = 0x10;
        config[2] = 0x31;
        config[3] = 0x23;
        config[4] = command;
    }
    put("config", config, size);
}

static void put_registers(uint32_t fill, uint32_t protocol)
{
    uint32_t registers[NP_BAR0_SIZE / 4];

    for (size_t i = 0; i < NP_BAR0_SIZE / 4; i++)
        registers[i] = fill == 0 ? (uint32_t)(0xa0000000u + i * 4) : fill;
    registers[NP_REG_PROTOCOL_VER / 4] = protocol;
    put("resource0", registers, sizeof registers);
}

/* A device that is as it should be; each test then breaks one thing. */
static void put_good_device(void)
{
    unlink(in_device("driver"));
    put_text("vendor", "0x10de\n");
    put_text("device", "0x2331\n");
    put_text("class", "0x030200\n");
    put_text("resource", good_resource);
    put_config(0, 0x02, 64);
    put_registers(0, NP_PROTOCOL_VERSION);
    put_node("resource1", NP_BAR1_SIZE);
}

static int refused(enum np_step step, enum np_refusal refusal, int error)
{
    struct np_result result;
    struct np_handle *handle = np_open(device, &result);

    if (handle != NULL) {
        np_close(handle);
        return 0;
    }
    if (result.step == (int)step && result.refusal == (int)refusal && result.error == error)
        return 1;
    fprintf(stderr, "  got step=%s refusal=%s error=%s\n", np_step_name(result.step), np_refusal_name(result.refusal),
            strerror(result.error));
    return 0;
}

static void a_good_device_is_opened_and_read(void)
{
    struct np_result result;
    struct np_handle *handle;
    uint32_t value = 0;

    put_good_device();
    handle = np_open(device, &result);
    CHECK(handle != NULL);
    if (handle == NULL)
        return;
    CHECK(result.step == NP_STEP_NONE && result.error == 0 && result.refusal == NP_REFUSED_NOT);
    CHECK(np_read32(handle, 0x010, &value, &result) == 0 && value == 0xa0000010u);
    CHECK(np_read32(handle, 0x94c, &value, &result) == 0 && value == 0xa000094cu);
    CHECK(np_read32(handle, 0x020, &value, &result) == 0 && value == NP_PROTOCOL_VERSION);
    np_close(handle);
}

static void registers_off_the_list_are_refused(void)
{
    static const uint32_t forbidden[] = {0x000, 0x001, 0x009, 0x03e,     0x040,      0x07c, 0x090, 0x0a8,
                                         0x0ac, 0x0fc, 0x100, 0x4fc,     0x500,      0x8fc, 0x950, 0xffc,
                                         0x1000, 0x1010, 0x80000010u, UINT32_MAX, 0xfffffffcu};
    struct np_result result;
    struct np_handle *handle;
    uint32_t value = 7;

    put_good_device();
    handle = np_open(device, &result);
    CHECK(handle != NULL);
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        CHECK(np_read32(handle, forbidden[i], &value, &result) == -1);
        CHECK(result.refusal == NP_REFUSED_REGISTER_NOT_LISTED && result.value == forbidden[i]);
    }
    /* STATUS has its own function, so that a loop over registers cannot poll it. */
    CHECK(np_read32(handle, NP_REG_STATUS, &value, &result) == -1);
    CHECK(value == 7);
    np_close(handle);
}

static void status_is_read_once(void)
{
    struct np_result result;
    struct np_handle *handle;
    uint32_t value = 0;

    put_good_device();
    handle = np_open(device, &result);
    CHECK(np_read_status(handle, &value, &result) == 0 && value == 0xa0000004u);
    CHECK(np_read_status(handle, &value, &result) == -1 && result.refusal == NP_REFUSED_STATUS_ALREADY_READ);
    np_close(handle);
}

static void a_device_that_is_not_ours_is_refused(void)
{
    put_good_device();
    put_text("vendor", "0x10dd\n");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_WRONG_IDS, 0));
    put_good_device();
    put_text("device", "0x2321\n");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_WRONG_IDS, 0));
    put_good_device();
    put_text("class", "0x030000\n");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_WRONG_CLASS, 0));
    put_good_device();
    put_text("class", "");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_UNCHECKED, EINVAL));
    put_text("class", "0x030200 0x030200\n");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_UNCHECKED, EINVAL));
    put_text("class", "030200\n");
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_UNCHECKED, EINVAL));
    unlink(in_device("class"));
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_UNCHECKED, ENOENT));
}

static void a_device_with_a_driver_is_refused(void)
{
    put_good_device();
    if (symlink("../../../bus/pci/drivers/nvidia", in_device("driver")) != 0)
        abort();
    CHECK(refused(NP_STEP_DRIVER, NP_REFUSED_DRIVER_BOUND, 0));
}

static void a_device_with_another_bar_size_is_refused(void)
{
    put_good_device();
    put_text("resource", "0x00000000fd000000 0x00000000fdffffff 0x0000000000040200\n"
                         "0x0000380000000000 0x0000381fffffffff 0x000000000014220c\n");
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_WRONG_BAR_SIZE, 0));
    /* An I/O port window of the right size is not memory. */
    put_text("resource", "0x00000000fe000000 0x00000000fe000fff 0x0000000000040101\n"
                         "0x00000000fd000000 0x00000000fdffffff 0x0000000000040200\n");
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_WRONG_BAR_SIZE, 0));
    put_text("resource", "0x00000000fe000000 0x00000000fe000fff 0x0000000000040200\n");
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_UNCHECKED, EINVAL));
    put_text("resource", "nothing of the kind\n");
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_UNCHECKED, EINVAL));
    put_good_device();
    put_node("resource0", 8192);
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_WRONG_BAR_SIZE, 0));
    put_good_device();
    put_node("resource1", 4096);
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_WRONG_BAR_SIZE, 0));
    unlink(in_device("resource1"));
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_UNCHECKED, ENOENT));
}

static void a_device_that_does_not_answer_is_refused(void)
{
    put_good_device();
    put_config(0xff, 0xff, 64);
    CHECK(refused(NP_STEP_CONFIG, NP_REFUSED_DEVICE_GONE, 0));
    put_config(0, 0x05, 64);
    CHECK(refused(NP_STEP_CONFIG, NP_REFUSED_MEMORY_DECODE_OFF, 0));
    put_config(0, 0x02, 20);
    CHECK(refused(NP_STEP_CONFIG, NP_REFUSED_UNCHECKED, EINVAL));
    put_good_device();
    put_registers(UINT32_MAX, UINT32_MAX);
    CHECK(refused(NP_STEP_READ, NP_REFUSED_ALL_ONES, 0));
    put_registers(0, UINT32_MAX);
    CHECK(refused(NP_STEP_READ, NP_REFUSED_UNKNOWN_PROTOCOL, 0));
    put_registers(0, 0x00020000);
    CHECK(refused(NP_STEP_READ, NP_REFUSED_UNKNOWN_PROTOCOL, 0));
    put_registers(UINT32_MAX, 0);
    CHECK(refused(NP_STEP_READ, NP_REFUSED_UNKNOWN_PROTOCOL, 0));
}

static void links_in_the_device_directory_are_not_followed(void)
{
    put_good_device();
    unlink(in_device("resource0"));
    if (symlink("resource1", in_device("resource0")) != 0)
        abort();
    CHECK(refused(NP_STEP_BARS, NP_REFUSED_WRONG_BAR_SIZE, 0));
    put_good_device();
    unlink(in_device("vendor"));
    if (symlink("device", in_device("vendor")) != 0)
        abort();
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_UNCHECKED, ELOOP));
    unlink(in_device("vendor"));
}

static void a_fifo_does_not_block_it(void)
{
    put_good_device();
    unlink(in_device("vendor"));
    if (mkfifo(in_device("vendor"), 0600) != 0)
        abort();
    CHECK(refused(NP_STEP_IDENTITY, NP_REFUSED_NOT_SYSFS, 0));
    unlink(in_device("vendor"));
}

static void bad_arguments_are_refused(void)
{
    struct np_result result;
    uint32_t value;

    CHECK(np_open(NULL, &result) == NULL && result.refusal == NP_REFUSED_BAD_ARGUMENT);
    CHECK(np_open(device, NULL) == NULL);
    CHECK(np_open("/nowhere", &result) == NULL && result.step == NP_STEP_DIRECTORY && result.error == ENOENT);
    CHECK(np_read32(NULL, 0x10, &value, &result) == -1 && result.refusal == NP_REFUSED_BAD_ARGUMENT);
    CHECK(np_read_status(NULL, &value, &result) == -1);
    np_close(NULL);
}

static void every_number_has_a_name(void)
{
    for (int32_t i = 0; i < NP_STEP_COUNT; i++)
        CHECK(strcmp(np_step_name(i), "unknown") != 0);
    for (int32_t i = 0; i < NP_REFUSED_COUNT; i++)
        CHECK(strcmp(np_refusal_name(i), "unknown") != 0);
    CHECK(strcmp(np_step_name(-1), "unknown") == 0 && strcmp(np_refusal_name(NP_REFUSED_COUNT), "unknown") == 0);
}

static void the_shipped_library_refuses_ordinary_files(const char *path)
{
    struct np_handle *(*shipped_open)(const char *, struct np_result *);
    struct np_result result;
    void *symbol;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    CHECK(library != NULL);
    if (library == NULL)
        return;
    symbol = dlsym(library, "np_open");
    memcpy(&shipped_open, &symbol, sizeof symbol);
    put_good_device();
    CHECK(shipped_open(device, &result) == NULL);
    CHECK(result.step == NP_STEP_DIRECTORY && result.refusal == NP_REFUSED_NOT_SYSFS);
    /* On sysfs, and not a device. */
    CHECK(shipped_open("/sys/kernel", &result) == NULL && result.refusal == NP_REFUSED_UNCHECKED);
    dlclose(library);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"vendor",    "device",    "class",  "resource",
                                        "resource0", "resource1", "config", "driver"};
    if (argc != 2 || mkdtemp(root) == NULL)
        return 2;
    snprintf(device, sizeof device, "%s", root);
    a_good_device_is_opened_and_read();
    registers_off_the_list_are_refused();
    status_is_read_once();
    a_device_that_is_not_ours_is_refused();
    a_device_with_a_driver_is_refused();
    a_device_with_another_bar_size_is_refused();
    a_device_that_does_not_answer_is_refused();
    links_in_the_device_directory_are_not_followed();
    a_fifo_does_not_block_it();
    bad_arguments_are_refused();
    every_number_has_a_name();
    the_shipped_library_refuses_ordinary_files(argv[1]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(in_device(names[i]));
    rmdir(root);
    printf("native-probe: %d checks, %d failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
