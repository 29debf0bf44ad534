import type { Registry } from "./registry.ts";

/** What this program costs, read when it is asked. */
export interface ProcessUse {
  /** Microseconds of user and system time. */
  readonly cpuMicros: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
}

export function ownUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return { cpuMicros: user + system, residentBytes: rss, heapBytes: heapUsed };
}

/**
 * Declares the program's own metrics, and returns what brings them up to date: call it before each rendering.
 * `startedAt`: epoch milliseconds.
 */
export function declareProcessMetrics(
  registry: Registry,
  startedAt: number,
  use: () => ProcessUse = ownUse,
): () => void {
  const cpu = registry.counter("vgpu_agent_process_cpu_seconds_total", "User and system time of this program.", {});
  const resident = registry.gauge("vgpu_agent_process_resident_memory_bytes", "Memory of this program in RAM.", {});
  const heap = registry.gauge("vgpu_agent_process_heap_bytes", "JavaScript's heap in use.", {});
  const started = registry.gauge("vgpu_agent_process_start_time_seconds", "When this program was started.", {});
  started.of().set(startedAt / 1000);
  const update = () => {
    const { cpuMicros, residentBytes, heapBytes } = use();
    cpu.of().reach(cpuMicros / 1e6);
    resident.of().set(residentBytes);
    heap.of().set(heapBytes);
  };
  update();
  return update;
}
