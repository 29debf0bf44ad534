/** CLOCK_MONOTONIC in milliseconds: since the boot, without the time that the machine was suspended. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;
