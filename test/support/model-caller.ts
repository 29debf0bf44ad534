import { execFileSync } from "node:child_process";
import { openSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Running, start } from "./real-process.ts";

/**
 * A process that does what one request of a model does, over a shim of the test's: allocate, copy in, launch, copy out. It
 * writes to its stderr what the real shim writes with VGPU_DEBUG, so that its log and the kernel's probes tell the same.
 */
const PROGRAM = `
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
typedef int (*call_fn)(void *, unsigned, const unsigned *, unsigned, const void *, unsigned, void *, void *, unsigned, unsigned *);
static call_fn transport;
static unsigned seq;
static char data[65536];
static void call(unsigned id, unsigned sent, unsigned asked) {
  const unsigned args[3] = {0, 0, 0};
  int pid = getpid();
  fprintf(stderr, "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x%04x data_len=%u tp=0x715b40028300 bar0=0x715b95824000 (pid=%d)\\n", id, sent, pid);
  fprintf(stderr, "[cuda-transport] SENDING to VGPU-STUB: call_id=0x%04x seq=%u args=4 data_len=%u (pid=%d)\\n", id, ++seq, sent, pid);
  transport(data, id, args, 3, data, sent, data, data, asked, 0);
  if (id != 0x32) fprintf(stderr, "[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x%04x seq=%u status=DONE (pid=%d)\\n", id, seq, pid);
}
int main(int argc, char **argv) {
  char line[256];
  unsigned long ptr;
  unsigned vm, bytes;
  setvbuf(stdout, 0, _IOLBF, 0);
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) { puts(dlerror()); return 1; }
  transport = (call_fn)dlsym(library, "cuda_transport_call");
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    int pid = getpid();
    if (sscanf(line, "init %u", &vm) == 1) {
      fprintf(stderr, "[libvgpu-cuda] cuInit() CALLED (pid=%d, flags=0, already_init=0)\\n", pid);
      fprintf(stderr, "[libvgpu-cuda] cuInit() device found at 0000:00:05.0 \\u2014 transport deferred (CC=9.0 VRAM=81920 MB, init_phase=1)\\n");
      fprintf(stderr, "[cuda-transport] Connected (vm_id=%u) data_path=BAR1 status_from=BAR1\\n", vm);
      call(0x01, 0, 0);
    } else if (sscanf(line, "alloc %u", &bytes) == 1) {
      call(0x30, 0, 0);
    } else if (sscanf(line, "got %lx %u", &ptr, &bytes) == 2) {
      fprintf(stderr, "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x%lx, size=%u (pid=%d)\\n", ptr, bytes, pid);
    } else if (sscanf(line, "in %u", &bytes) == 1) {
      call(0x32, bytes, 0);
    } else if (!strncmp(line, "launch", 6)) {
      call(0x50, 0, 0);
    } else if (sscanf(line, "out %u", &bytes) == 1) {
      call(0x33, 0, bytes);
    }
    puts("done");
  }
  return 0;
}
`;

export function compileModelCaller(directory: string): string {
  const path = join(directory, "model-caller");
  execFileSync("gcc", ["-O1", "-w", "-o", path, "-x", "c", "-", "-ldl"], { input: PROGRAM });
  return path;
}

export interface ModelCaller extends Running {
  /** Gives an order ("init 11", "alloc 4096", "got 7f00 4096", "in 4096", "launch", "out 4096") and waits until it is done. */
  order(text: string): Promise<void>;
}

/** Starts the process with this shim; its stderr goes to `log`. */
export async function startModelCaller(program: string, shim: string, log: string): Promise<ModelCaller> {
  const running = await start(program, [shim], { stderr: openSync(log, "a") });
  const { stdin, stdout } = running.child;
  if (stdin === null || stdout === null) throw new Error("the caller has no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  return {
    ...running,
    order: async (text) => {
      stdin.write(`${text}\n`);
      const line = await lines.next();
      if (line.value !== "done") throw new Error(`${text}: ${line.value}`);
    },
  };
}
