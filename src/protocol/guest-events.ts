/**
 * What one line of a guest's log says, once a grammar has read it. Numbers are as printed, decoded from hex or decimal;
 * durations and sizes keep their unit in the field's name. Kept apart from any opinion: an event is what was said,
 * not whether it is believed (docs/wire.md, "What a line proves").
 */
export type GuestEvent = ShimEvent | OllamaEvent | ManagerEvent;
export type GuestEventKind = GuestEvent["kind"];

/** Lines of the shims and their transport (docs/wire.md, "Shim lines"). */
export type ShimEvent =
  | { readonly kind: "device-found"; readonly bdf: string }
  | { readonly kind: "device-missing"; readonly scanned: number | null; readonly reason: string | null }
  | { readonly kind: "device-invented" }
  | { readonly kind: "bar0-open-failed"; readonly path: string; readonly reason: string }
  | { readonly kind: "bar0-map-failed"; readonly reason: string }
  | { readonly kind: "bar1-unavailable"; readonly errno: number | null }
  | { readonly kind: "connected"; readonly vmId: number; readonly dataPath: string; readonly statusFrom: string | null }
  | { readonly kind: "gpu-info-live"; readonly name: string; readonly memoryMb: number }
  | { readonly kind: "gpu-info-failed" }
  | { readonly kind: "init-failed" }
  | { readonly kind: "init-call-failed"; readonly rc: number; readonly status: number }
  | { readonly kind: "call-invoked"; readonly callId: number; readonly dataLen: number }
  | { readonly kind: "call-sent"; readonly callId: number; readonly seq: number; readonly dataLen: number }
  | { readonly kind: "call-doorbell"; readonly callId: number }
  | { readonly kind: "call-done"; readonly callId: number; readonly seq: number }
  | { readonly kind: "call-forwarded"; readonly name: string }
  | { readonly kind: "debug-on" }
  | { readonly kind: "alloc-ok"; readonly ptr: string; readonly sizeBytes: number }
  | { readonly kind: "alloc-failed"; readonly rc: number }
  | { readonly kind: "context-by-rpc" }
  | { readonly kind: "copy-attempt"; readonly bytes: number }
  | {
      readonly kind: "status-error";
      readonly callId: number;
      readonly seq: number;
      /** Transport error code, BAR0 0x014. */
      readonly err: number;
      readonly errName: string | null;
      readonly vmId: number | null;
    }
  /** `status` is the host's CUresult. */
  | { readonly kind: "host-cuda-error"; readonly callId: number; readonly seq: number; readonly status: number }
  | { readonly kind: "timeout"; readonly callId: number; readonly seq: number; readonly seconds: number | null }
  | { readonly kind: "chunk-failed"; readonly what: string; readonly rc: number }
  /** `final`: the shim has given up shared memory; otherwise it may still try again. `reason` null: see the tries before. */
  | { readonly kind: "shmem-fallback"; readonly reason: string | null; readonly final: boolean }
  | { readonly kind: "shmem-registered"; readonly bytes: number }
  /** Success told to the program although nothing happened: `what` is "memory", "cublas handle" or "context". */
  | { readonly kind: "invented-success"; readonly what: string }
  | { readonly kind: "stale-owner"; readonly ownerPid: number };

/** Lines of Ollama, ggml and the dynamic loader (docs/wire.md, "Ollama lines"). */
export type OllamaEvent =
  | { readonly kind: "server-listening"; readonly address: string; readonly version: string }
  | { readonly kind: "discovery-started" }
  | {
      readonly kind: "inference-compute";
      readonly library: string;
      readonly compute: string | null;
      /** The description where the line has one, else its name. */
      readonly name: string | null;
      readonly pciId: string | null;
      readonly total: string | null;
      readonly id: string | null;
    }
  | { readonly kind: "no-compatible-gpu" }
  | { readonly kind: "zero-vram" }
  | { readonly kind: "low-vram"; readonly total: string }
  | { readonly kind: "default-context"; readonly totalVram: string; readonly tokens: number | null }
  | { readonly kind: "discovery-timeout" }
  | { readonly kind: "device-filtered" }
  | { readonly kind: "refresh-failed" }
  | { readonly kind: "ggml-cuda-failed"; readonly reason: string | null }
  | { readonly kind: "ggml-cuda-init"; readonly count: number | null; readonly compute: string | null }
  | { readonly kind: "offloaded"; readonly layers: number; readonly of: number }
  | { readonly kind: "model-buffer"; readonly device: string; readonly mib: number }
  | { readonly kind: "runner-crash"; readonly text: string }
  | { readonly kind: "linker-error"; readonly text: string }
  /** ld.so went on without a library named in LD_PRELOAD or /etc/ld.so.preload. */
  | { readonly kind: "preload-ignored"; readonly object: string; readonly from: string; readonly reason: string | null }
  | {
      readonly kind: "request";
      readonly status: number;
      readonly durationText: string;
      readonly method: string;
      readonly path: string;
      /** The path runs a model; others (lists, versions) say nothing of the GPU. */
      readonly inference: boolean;
    };

/** Lines of systemd and journald about the unit (docs/wire.md, "Manager lines"). `unit` null: the line names none. */
export type ManagerEvent =
  | { readonly kind: "unit-started"; readonly unit: string | null }
  | {
      readonly kind: "main-exited";
      readonly unit: string;
      readonly code: string;
      /** As printed: "2/INVALIDARGUMENT", "11/SEGV". */
      readonly status: string;
    }
  | { readonly kind: "unit-failed"; readonly unit: string; readonly result: string }
  | { readonly kind: "deactivated"; readonly unit: string }
  | { readonly kind: "restart-scheduled"; readonly unit: string; readonly counter: number }
  | { readonly kind: "messages-suppressed"; readonly unit: string; readonly count: number };
