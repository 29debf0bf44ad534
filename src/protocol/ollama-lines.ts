import { decimal, decimalOrNull, type Grammar, textOf, textOrNull } from "./grammar.ts";
import type { OllamaEvent } from "./guest-events.ts";

/** Longest piece of an error's text that is kept: these texts can quote what was asked of the model. */
const ERROR_TEXT = 200;

/** `key=value`, `key="value"`, `"the key"="value"`, at most thirty of them, as Go's slog prints them. */
const FIELDS = /(?: (?:"[^"\r\n]{1,40}"|[\w.]{1,40})=(?:"(?:[^"\\\r\n]|\\.){0,300}"|[^\s"]{0,300})){1,30}/.source;
const FIELD = /(?:"([^"]{1,40})"|([\w.]{1,40}))=(?:"((?:[^"\\]|\\.){0,300})"|([^\s"]{0,300}))/g;

/** The fields of a slog line after its message. A later field of the same name wins, as nothing else is promised. */
function fieldsOf(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(FIELD)].map((m) => [m[1] ?? m[2] ?? "", m[3] ?? m[4] ?? ""]));
}

function inferenceCompute(text: string): OllamaEvent | null {
  const fields = fieldsOf(text);
  const library = fields.get("library");
  if (library === undefined || library === "") return null;
  return {
    kind: "inference-compute",
    library,
    compute: fields.get("compute") || null,
    name: fields.get("description") || fields.get("name") || null,
    pciId: fields.get("pci_id") || null,
    total: fields.get("total") || null,
    id: fields.get("id") || null,
  };
}

const NO_MEMORY = /^0(?:\.0)? ?B$/;

const crash = (text: string): OllamaEvent | null =>
  /context canceled/.test(text) ? null : { kind: "runner-crash", text: text.slice(0, ERROR_TEXT) };

/** How a runner ended, by the text of its crash: see `endOf`. */
export type RunnerEnd = "fault" | "abort" | "own-word" | "other";

const OWN_WORD = /GGML_ASSERT|CUDA error|mmq\.cuh:\d|^panic: /;
/** Go's words for signals of the processor (os.ProcessState), and its runtime's when one arrives in C code. */
const FAULT =
  /signal: (?:segmentation fault|bus error|illegal instruction|floating point exception|bad system call)|\bSIG(?:SEGV|BUS|ILL|FPE): /i;
const ABORT = /signal: aborted|\bSIGABRT: /i;

/**
 * What the text of a `runner-crash` says of the end (docs/wire.md, "Ollama lines: crashes"): a signal of the processor
 * (`fault`) and an `abort` come from the process's own code, where the shim runs; `own-word` is a reason that the
 * runner gave itself. An exit status and a SIGKILL say nothing of it (`other`).
 */
export function endOf(text: string): RunnerEnd {
  if (OWN_WORD.test(text)) return "own-word";
  if (FAULT.test(text)) return "fault";
  return ABORT.test(text) ? "abort" : "other";
}

/** Bytes of a latin1-decoded text read as UTF-8: durations have a micro sign. */
const asUtf8 = (text: string): string =>
  /[\x80-\xff]/.test(text) ? Buffer.from(text, "latin1").toString("utf8") : text;

/** Paths whose completion means that a model ran (docs/wire.md, "Ollama lines: requests"). */
const INFERENCE_PATH =
  /^\/(?:api\/(?:generate|chat|embed|embeddings)|v1\/(?:chat\/completions|completions|embeddings|responses|messages))$/;

const lines = (doc: string, grammars: readonly Omit<Grammar, "source" | "doc">[]): readonly Grammar[] =>
  grammars.map((grammar) => ({ source: "ollama", doc, ...grammar }));

const DISCOVERY = lines("Ollama lines: discovery", [
  {
    id: "server-listening",
    generation: "any",
    markers: ['msg="Listening on '],
    pattern: /msg="Listening on ([^\s"]{1,120}) \(version ([^)\s"]{1,60})\)/y,
    examples: [
      'time=2026-03-26T06:35:38.138-04:00 level=INFO source=routes.go:1782 msg="Listening on 127.0.0.1:11434 (version 0.0.0)"',
    ],
    event: (m) => ({ kind: "server-listening", address: textOf(m, 1), version: textOf(m, 2) }),
  },
  {
    id: "discovery-started",
    generation: "ollama >=0.12.4",
    markers: ['msg="discovering available GPUs'],
    pattern: /msg="discovering available GPUs/y,
    examples: ['time=2026-03-26T06:35:38.139-04:00 level=INFO source=runner.go:67 msg="discovering available GPUs..."'],
    event: () => ({ kind: "discovery-started" }),
  },
  {
    id: "discovery-started",
    generation: "ollama <=0.12.3",
    markers: ['msg="looking for compatible GPUs"'],
    pattern: /msg="looking for compatible GPUs"/y,
    examples: ['time=2025-09-20T08:00:01.100Z level=INFO source=gpu.go:217 msg="looking for compatible GPUs"'],
    event: () => ({ kind: "discovery-started" }),
  },
  {
    id: "inference-compute",
    generation: "ollama, all",
    markers: ['msg="inference compute"'],
    pattern: new RegExp(`msg="inference compute"(${FIELDS})`, "y"),
    examples: [
      'time=2025-09-20T08:00:01.200Z level=INFO source=types.go:131 msg="inference compute" id=GPU-0a1b library=cuda variant=v12 compute=9.0 driver=13.0 name="NVIDIA H100" total="79.6 GiB" available="79.1 GiB"',
      'time=2025-09-20T08:00:01.200Z level=INFO source=types.go:131 msg="inference compute" id=0 library=cpu variant="" compute="" driver=0.0 name="" total="31.2 GiB" available="29.0 GiB"',
      'time=2026-03-26T06:35:38.354-04:00 level=INFO source=types.go:42 msg="inference compute" id=GPU-00000000-1400-0000-00c0-000000000000 filter_id="" library=CUDA compute=9.0 name=CUDA0 description="NVIDIA H100 80GB HBM3" libdirs=cuda_v12,ollama driver=13.0 pci_id=0000:17361170:7 type=discrete total="80.0 GiB" available="78.0 GiB"',
      'time=2026-02-25T08:54:34.647-05:00 level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu compute="" name=cpu description=cpu libdirs=ollama driver="" pci_id="" type="" total="3.8 GiB" available="3.0 GiB"',
    ],
    event: (m) => inferenceCompute(m[1] ?? ""),
  },
  {
    id: "no-compatible-gpu",
    generation: "ollama <=0.12.3",
    markers: ["no compatible GPUs were discovered"],
    pattern: /no compatible GPUs were discovered/y,
    examples: ['time=2025-09-20T08:00:01.190Z level=INFO source=gpu.go:396 msg="no compatible GPUs were discovered"'],
    event: () => ({ kind: "no-compatible-gpu" }),
  },
  {
    id: "low-vram",
    generation: "ollama 0.11-0.15.4",
    markers: ['msg="entering low vram mode"'],
    pattern: /msg="entering low vram mode" "total vram"="([^"\r\n]{1,24})"/y,
    examples: [
      'time=2025-11-01T08:00:01Z level=INFO source=routes.go:1568 msg="entering low vram mode" "total vram"="0 B" threshold="20.0 GiB"',
      'time=2025-11-01T08:00:01Z level=INFO source=routes.go:1568 msg="entering low vram mode" "total vram"="15.9 GiB" threshold="20.0 GiB"',
    ],
    event: (m) => (NO_MEMORY.test(textOf(m, 1)) ? { kind: "zero-vram" } : { kind: "low-vram", total: textOf(m, 1) }),
  },
  {
    id: "default-context",
    generation: "ollama >=0.15.5",
    markers: ['msg="vram-based default context"'],
    pattern:
      /msg="vram-based default context" total_vram=(?:"([^"\r\n]{1,24})"|([^\s"]{1,24}))(?: default_num_ctx=(\d{1,10}))?/y,
    examples: [
      'time=2026-02-25T08:54:34.647-05:00 level=INFO source=routes.go:1768 msg="vram-based default context" total_vram="0 B" default_num_ctx=4096',
      'time=2026-03-26T06:35:38.354-04:00 level=INFO source=routes.go:1832 msg="vram-based default context" total_vram="80.0 GiB" default_num_ctx=262144',
    ],
    event: (m) => {
      const totalVram = textOf(m, m[1] === undefined ? 2 : 1);
      if (NO_MEMORY.test(totalVram)) return { kind: "zero-vram" };
      return { kind: "default-context", totalVram, tokens: decimalOrNull(m, 3) };
    },
  },
  {
    id: "discovery-timeout",
    generation: "ollama >=0.12.11",
    markers: ["failed to finish discovery before timeout"],
    pattern: /failed to finish discovery before timeout/y,
    examples: [
      'time=2026-02-25T08:54:34.396-05:00 level=INFO source=runner.go:464 msg="failure during GPU discovery" error="failed to finish discovery before timeout"',
    ],
    event: () => ({ kind: "discovery-timeout" }),
  },
  {
    id: "device-filtered",
    generation: "ollama >=0.12.4, debug",
    markers: ["filtering device which didn't fully initialize"],
    pattern: /filtering device which didn't fully initialize/y,
    examples: [
      'level=DEBUG source=runner.go:153 msg="filtering device which didn\'t fully initialize" id=GPU-00000000-1400-0000-00c0-000000000000 library=CUDA',
    ],
    event: () => ({ kind: "device-filtered" }),
  },
  {
    id: "refresh-failed",
    generation: "any",
    markers: ["unable to refresh free memory"],
    pattern: /unable to refresh free memory/y,
    examples: [
      'time=2026-03-26T06:40:00.000-04:00 level=WARN source=runner.go:356 msg="unable to refresh free memory, using old values"',
    ],
    event: () => ({ kind: "refresh-failed" }),
  },
  {
    id: "ggml-cuda-failed",
    generation: "any",
    markers: ["ggml_cuda_init: failed"],
    pattern: /ggml_cuda_init: failed(?: to initialize CUDA: ([^[\r\n]{1,160}))?/y,
    examples: [
      "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version",
      "ggml_cuda_init: failed to initia...",
    ],
    event: (m) => ({ kind: "ggml-cuda-failed", reason: textOrNull(m, 1) }),
  },
  {
    id: "ggml-cuda-found",
    generation: "any",
    markers: ["ggml_cuda_init: found "],
    pattern: /ggml_cuda_init: found (\d{1,4}) CUDA devices/y,
    examples: ["ggml_cuda_init: found 1 CUDA devices:"],
    event: (m) => ({ kind: "ggml-cuda-init", count: decimal(m, 1), compute: null }),
  },
  {
    id: "ggml-cuda-device",
    generation: "any",
    markers: [", compute capability "],
    pattern: /(?<=Device \d{1,3}: [^\r\n]{1,100}), compute capability (\d{1,3}\.\d{1,2})/y,
    examples: [
      "  Device 0: NVIDIA H100 80GB HBM3, compute capability 9.0, VMM: no, ID: GPU-00000000-1400-0000-00c0-000000000000",
    ],
    event: (m) => ({ kind: "ggml-cuda-init", count: null, compute: textOf(m, 1) }),
  },
]);

const LOADING = lines("Ollama lines: loading a model", [
  {
    id: "offloaded",
    generation: "any",
    markers: ["offloaded "],
    pattern: /offloaded (\d{1,6})\/(\d{1,6}) layers to GPU/y,
    examples: [
      "load_tensors: offloaded 23/23 layers to GPU",
      'time=2026-03-26T06:56:50.191-04:00 level=INFO source=ggml.go:494 msg="offloaded 0/23 layers to GPU"',
    ],
    event: (m) => ({ kind: "offloaded", layers: decimal(m, 1), of: decimal(m, 2) }),
  },
  {
    id: "model-buffer",
    generation: "llama engine",
    markers: [" model buffer size"],
    pattern: /(?<=\b([A-Za-z]\w{1,23})) model buffer size {0,8}= {0,12}(\d{1,10}(?:\.\d{1,4})?) MiB/y,
    examples: ["load_tensors:        CUDA0 model buffer size =   571.37 MiB"],
    event: (m) => ({ kind: "model-buffer", device: textOf(m, 1), mib: Number(textOf(m, 2)) }),
  },
  {
    id: "model-buffer",
    generation: "ollama engine",
    markers: ['msg="model weights" device='],
    pattern: /msg="model weights" device="?([A-Za-z]\w{1,23})"? size="(\d{1,10}(?:\.\d{1,4})?) ([MG])iB"/y,
    examples: [
      'time=2026-03-26T06:56:50.191-04:00 level=INFO source=device.go:240 msg="model weights" device=CUDA0 size="571.4 MiB"',
    ],
    event: (m) => ({
      kind: "model-buffer",
      device: textOf(m, 1),
      mib: Number(textOf(m, 2)) * (textOf(m, 3) === "G" ? 1024 : 1),
    }),
  },
]);

const CRASHES = lines("Ollama lines: crashes", [
  {
    id: "runner-terminated",
    generation: "any",
    markers: ['msg="llama runner terminated"', 'msg="llama-server terminated"'],
    pattern: /msg="llama(?:-server| runner) terminated"(?: error="((?:[^"\\\r\n]|\\.){0,400}))?/y,
    examples: [
      'time=2026-03-23T06:43:02.101-04:00 level=ERROR source=server.go:318 msg="llama runner terminated" error="exit status 2"',
      'time=2026-10-01T06:43:02.101Z level=ERROR source=server.go:318 msg="llama-server terminated" error="signal: killed"',
    ],
    event: (m) => crash(textOf(m, 1) || "terminated"),
  },
  {
    id: "runner-process-terminated",
    generation: "any",
    markers: ["llama runner process has terminated: ", "llama-server process has terminated: "],
    pattern: /llama(?:-server| runner) process has terminated: ((?:[^"\\\r\n]|\\.){0,400})/y,
    examples: [
      'time=2026-03-26T06:13:24.326-04:00 level=ERROR source=sched.go:575 msg="error loading llama server" error="llama runner process has terminated: exit status 2"',
      'time=2026-10-01T06:13:24.326Z level=ERROR source=sched.go:575 msg="error loading llama server" error="llama-server process has terminated: signal: aborted (core dumped)"',
    ],
    event: (m) => crash(textOf(m, 1) || "terminated"),
  },
  {
    id: "assertion",
    generation: "any",
    markers: ["GGML_ASSERT("],
    pattern: /GGML_ASSERT\([^\r\n]{0,400}/y,
    examples: [
      '//ml/backend/ggml/ggml/src/ggml-backend.cpp:2361: GGML_ASSERT((uintptr_t)ptr % TENSOR_ALIGNMENT == 0 && "buffer pointer must be aligned") failed',
    ],
    event: (m) => crash(textOf(m, 0)),
  },
  {
    id: "kernel-fatal",
    generation: "any",
    markers: ["mmq.cuh:"],
    pattern: /mmq\.cuh:\d{1,6}: fatal error/y,
    examples: ["/ml/backend/ggml/ggml/src/ggml-cuda/mmq.cuh:3884: fatal error"],
    event: (m) => crash(textOf(m, 0)),
  },
  {
    id: "cuda-error",
    generation: "any",
    markers: ["CUDA error: "],
    pattern: /CUDA error: [^[\r\n]{1,200}/y,
    examples: ["CUDA error: an illegal memory access was encountered"],
    event: (m) => crash(textOf(m, 0)),
  },
  {
    id: "signal",
    generation: "any",
    markers: ["SIGSEGV: ", "SIGABRT: ", "SIGFPE: ", "SIGBUS: ", "SIGILL: "],
    pattern: /SIG(?:SEGV|ABRT|FPE|BUS|ILL): [a-z ]{1,60}/y,
    examples: ["SIGSEGV: segmentation violation"],
    event: (m) => crash(textOf(m, 0)),
  },
  {
    id: "load-panic",
    generation: "any",
    markers: ["panic: unable to load model"],
    pattern: /panic: unable to load model/y,
    examples: ["panic: unable to load model: /usr/share/ollama/.ollama/models/blobs/sha256-00"],
    event: (m) => crash(textOf(m, 0)),
  },
]);

const LOADER = lines("Ollama lines: dynamic loader", [
  {
    id: "linker-error",
    generation: "glibc",
    markers: ["symbol lookup error: ", "undefined symbol: ", "error while loading shared libraries: "],
    pattern: /(?:symbol lookup error|undefined symbol|error while loading shared libraries): [^[\r\n]{1,200}/y,
    examples: [
      "/usr/local/bin/ollama: symbol lookup error: /opt/vgpu/lib/libcuda.so.1: undefined symbol: cuCtxGetFlags",
      "/usr/local/bin/ollama: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file or directory",
    ],
    event: (m) => ({ kind: "linker-error", text: textOf(m, 0).slice(0, ERROR_TEXT) }),
  },
  {
    id: "linker-version",
    generation: "glibc",
    markers: ["version `GLIBC"],
    pattern: /version `GLIBC\w{0,4}_[\d.]{1,12}' not found/y,
    examples: [
      "/usr/local/bin/ollama: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /opt/vgpu/lib/libvgpu-cuda.so.1)",
    ],
    event: (m) => ({ kind: "linker-error", text: textOf(m, 0) }),
  },
  {
    id: "preload-ignored",
    generation: "glibc",
    markers: ["ld.so: object '"],
    pattern: /ld\.so: object '([^'\r\n]{1,300})' from ([^'\s]{1,80}) cannot be preloaded(?: \(([^)\r\n]{1,160})\))?/y,
    examples: [
      "ERROR: ld.so: object '/opt/vgpu/lib/libvgpu-exec.so' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.",
      "ERROR: ld.so: object '/usr/lib64/libvgpu-cuda.so' from /etc/ld.so.preload cannot be preloaded: ignored.",
    ],
    event: (m) => ({ kind: "preload-ignored", object: textOf(m, 1), from: textOf(m, 2), reason: textOrNull(m, 3) }),
  },
]);

const COLOUR = /(?:\x1b\[[0-9;]{0,12}m)?/.source;
const REQUESTS = lines("Ollama lines: requests", [
  {
    id: "request",
    generation: "any",
    markers: ["[GIN] "],
    pattern: new RegExp(
      `\\[GIN\\] \\d{4}/\\d\\d/\\d\\d - \\d\\d:\\d\\d:\\d\\d \\|${COLOUR} {0,4}(\\d{3}) {0,4}${COLOUR}\\|([^|\\r\\n]{1,48})\\|[^|\\r\\n]{1,80}\\|${COLOUR} {0,4}([A-Z]{3,8}) {0,12}${COLOUR} {0,12}"([^"\\r\\n]{0,300})"`,
      "y",
    ),
    examples: [
      '[GIN] 2026/03/26 - 06:13:24 | 500 |       1h11m3s |       127.0.0.1 | POST     "/api/generate"',
      '[GIN] 2026/03/26 - 06:14:00 | 200 |      38.456\xc2\xb5s |       127.0.0.1 | GET      "/api/version"',
    ],
    event: (m) => {
      const path = textOf(m, 4).split("?", 1)[0] ?? "";
      const method = textOf(m, 3);
      return {
        kind: "request",
        status: decimal(m, 1),
        durationText: asUtf8(textOf(m, 2)),
        method,
        path,
        inference: method === "POST" && INFERENCE_PATH.test(path),
      };
    },
  },
]);

/** Lines of Ollama, of ggml below it and of the dynamic loader that starts it. */
export const OLLAMA_LINES: readonly Grammar[] = [...DISCOVERY, ...LOADING, ...CRASHES, ...LOADER, ...REQUESTS];
