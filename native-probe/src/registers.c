#include "internal.h"

struct range {
    uint32_t first;
    uint32_t last;
};

/*
 * Registers whose reads change nothing and log nothing (docs/wire.md, "BAR0 registers"). Everything else is refused:
 * payload windows are private, reserved space is useless.
 */
static const struct range safe_registers[] = {
    {0x008, 0x03c}, /* POOL_ID .. SCRATCH */
    {0x080, 0x08c}, /* CUDA_OP .. CUDA_DATA_LEN */
    {0x0b0, 0x0ec}, /* ARG0 .. ARG15 */
    {0x0f0, 0x0f8}, /* RESULT_STATUS .. RESULT_DATA_LEN */
    {0x900, 0x93c}, /* RESULT0_LO .. RESULT7_HI */
    {0x940, 0x94c}, /* SHMEM_GPA_LO .. SHMEM_CTRL */
};

int32_t np_register_class(uint32_t offset)
{
    if (offset % 4 != 0)
        return NP_REGISTER_FORBIDDEN;
    if (offset == NP_REG_STATUS)
        return NP_REGISTER_STATUS;
    for (size_t i = 0; i < sizeof safe_registers / sizeof safe_registers[0]; i++) {
        if (offset >= safe_registers[i].first && offset <= safe_registers[i].last)
            return NP_REGISTER_SAFE;
    }
    return NP_REGISTER_FORBIDDEN;
}
