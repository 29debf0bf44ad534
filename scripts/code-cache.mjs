// Writes what V8 compiled of dist/start-match.js while it went over a log, so that the next start need not: the half of
// what `vgpu-agent match` takes to start. V8 takes it only for the very same source and version, and compiles otherwise.
// Usage: code-cache.mjs DIST. Runs with the Node that the program will run with.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const dist = process.argv[2];
const home = mkdtempSync(join(tmpdir(), "vgpu-agent-build-"));
const log = join(home, "mediator.log");
/** Below this the log would be read without log-scan (src/host/mediator-log/bulk-start.ts). */
const LEAST_BYTES = 9 << 20;
const PAYLOAD = "00 ".repeat(64).trim();
const OWNER = 134265728;
const BEGIN = `  MEDIATOR DAEMON v3.1 — Phase 3+: CUDA API Remoting
[cuda-executor] Initialized: NVIDIA H100 PCIe, 81004 MB
[cuda-executor] CUDA_CALL_INIT vm=${OWNER} — pipeline live
[MEDIATOR] CUDA result sent vm_id=8 request_id=1 call_id=0x1 result.status=0 -> stub sets DONE
`;

/** The calls of a mediator that loads and answers, from request `id` on. */
const calls = (id) => `[cuda-executor] cuMemAlloc: allocating 65536 bytes on physical GPU (vm=${OWNER})
[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f0dba800000 on physical GPU (vm=${OWNER})
[MEDIATOR] CUDA result sent vm_id=8 request_id=${id} call_id=0x30 result.status=0 -> stub sets DONE
[mediator] CUDA call input prefix vm=8 call_id=0x003c seq=${id} len=4096 prefix_len=64 bytes=[${PAYLOAD}]
[cuda-executor] cuMemcpyHtoDAsync vm=${OWNER} seq=${id} guest_dst=0x7f0dba800000 host_dst=0x7f0dba800000 size=4096 stream_guest=0x2a0ad40 fnv1a64=0x0000987292800000
[MEDIATOR] CUDA result sent vm_id=8 request_id=${id + 1} call_id=0x3c result.status=0 -> stub sets DONE
${[2, 3, 4, 5, 6, 7]
  .map(
    (
      more,
    ) => `[mediator] CUDA call input prefix vm=8 call_id=0x0032 seq=${id + more} len=65536 prefix_len=64 bytes=[${PAYLOAD}]
[MEDIATOR] CUDA result sent vm_id=8 request_id=${id + more} call_id=0x32 result.status=0 -> stub sets DONE`,
  )
  .join("\n")}
[cuda-executor] cuLaunchKernel: func=0x55ebc0826400 name=k_set_rows mod=0x55eb051d18d0 stream=0x0 grid=(128,1,1) block=(256,1,1) shared=0 params=4 mode=1 vm=${OWNER}
[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (func=0x55ebc0826400 name=k_set_rows mod=0x55eb051d18d0 vm=${OWNER})
[MEDIATOR] CUDA result sent vm_id=8 request_id=${id + 8} call_id=0x50 result.status=0 -> stub sets DONE
[cuda-executor] cuMemcpyDtoH start vm=${OWNER} guest_src=0x7f0dba800000 host_src=0x7f0dba800000 mapped=yes size=65536
[cuda-executor] cuMemcpyDtoH SUCCESS vm=${OWNER} guest_src=0x7f0dba800000 host_src=0x7f0dba800000 size=65536
[MEDIATOR] CUDA result sent vm_id=8 request_id=${id + 9} call_id=0x33 result.status=0 -> stub sets DONE
[HEARTBEAT] Mediator alive — iteration=${id}
`;

try {
  const lines = [BEGIN];
  for (let [id, bytes] = [2, 0]; bytes < LEAST_BYTES; id += 10) bytes += lines[lines.push(calls(id)) - 1].length;
  writeFileSync(log, lines.join(""));
  const filename = join(dist, "start-match.js");
  // As src/start.ts does it.
  const script = new vm.Script(readFileSync(filename, "utf8"), {
    filename,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const match = script.runInThisContext()(createRequire(filename), pathToFileURL(filename).href);
  process.stdout.write = (_text, ...rest) => {
    rest.find((one) => typeof one === "function")?.();
    return true;
  };
  await match.runMatch({ mediatorLog: log, vm: null, json: false });
  writeFileSync(join(dist, "start-match.cache"), script.createCachedData());
} finally {
  rmSync(home, { recursive: true, force: true });
}
