import { decimal, decimalOrNull, textOf } from "./grammar.ts";
import {
  addressIn,
  callIdIn,
  described,
  inCall,
  type MediatorGrammar,
  type MediatorReading,
  startsCall,
} from "./mediator-grammar.ts";
import type { Dimensions, LaunchShape } from "./mediator-line.ts";

/** Characters of a name that are kept; functions have names of any length, launches cut theirs at 127 bytes. */
const KEPT_NAME = 256;
const KEPT_JIT_TEXT = 200;

const dimensionsIn = (m: RegExpExecArray, index: number): Dimensions => [
  decimal(m, index),
  decimal(m, index + 1),
  decimal(m, index + 2),
];
const GRID = String.raw`grid=\((\d{1,10}),(\d{1,10}),(\d{1,10})\) block=\((\d{1,10}),(\d{1,10}),(\d{1,10})\) shared=(\d{1,10}) params=(\d{1,10})`;
/** A kernel's name is the guest's own text, printed raw: the last match of what follows it counts. */
const FUNCTION = String.raw`func=0x([0-9a-f]{1,16}) name=([^\n]{0,4000}) mod=0x([0-9a-f]{1,16})`;

/** Groups of FUNCTION from `named` on, of GRID from `sized` on. */
const shapeIn = (m: RegExpExecArray, named: number, sized: number, owner: number): LaunchShape => ({
  owner: decimal(m, owner),
  func: addressIn(m, named),
  name: textOf(m, named + 1).slice(0, KEPT_NAME),
  module: addressIn(m, named + 2),
  grid: dimensionsIn(m, sized),
  block: dimensionsIn(m, sized + 3),
  sharedBytes: decimal(m, sized + 6),
  params: decimal(m, sized + 7),
});
const UNNAMED = { func: null, name: null, module: null } as const;
const UNSIZED = { grid: null, block: null, sharedBytes: null, params: null } as const;

const LAUNCHES = described("Mediator log: launches", "stderr", [
  {
    id: "launch",
    markers: ["[cuda-executor] cuLaunchKernel: func=0x"],
    pattern: new RegExp(
      String.raw`\[cuda-executor\] cuLaunchKernel: ${FUNCTION} stream=0x([0-9a-f]{1,16}) ${GRID} mode=(\d{1,10}) vm=(\d{1,10})`,
      "y",
    ),
    examples: [
      "[cuda-executor] cuLaunchKernel: func=0x55eb051d7580 name=vecadd mod=0x55eb051d18d0 stream=0x0 grid=(16,1,1) block=(256,1,1) shared=0 params=4 mode=1 vm=184549525",
      "[cuda-executor] cuLaunchKernel: func=0x55eb051d7580 name=<unknown> mod=0x0 stream=0x0 grid=(1,1,1) block=(1,1,1) shared=0 params=1 mode=1 vm=184549525",
    ],
    read: (m) => startsCall({ kind: "launch", ...shapeIn(m, 1, 5, 14), stream: addressIn(m, 4), mode: decimal(m, 13) }),
  },
  {
    id: "launch",
    generation: "2025",
    markers: ["[cuda-executor] cuLaunchKernel: grid=("],
    pattern: new RegExp(String.raw`\[cuda-executor\] cuLaunchKernel: ${GRID} vm=(\d{1,10})`, "y"),
    examples: ["[cuda-executor] cuLaunchKernel: grid=(256,1,1) block=(256,1,1) shared=0 params=4 vm=11"],
    read: (m) =>
      startsCall({
        kind: "launch",
        ...shapeIn(m, 1, 1, 9),
        ...UNNAMED,
        stream: null,
        mode: null,
      }),
  },
  {
    id: "launch-ok",
    markers: ["[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (func=0x"],
    pattern: new RegExp(
      String.raw`\[cuda-executor\] cuLaunchKernel SUCCESS: kernel executed on physical GPU \(${FUNCTION} vm=(\d{1,10})\)`,
      "y",
    ),
    examples: [
      "[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (func=0x55eb051d7580 name=vecadd mod=0x55eb051d18d0 vm=184549525)",
    ],
    read: (m) =>
      inCall({
        kind: "launch-ok",
        owner: decimal(m, 4),
        func: addressIn(m, 1),
        name: textOf(m, 2).slice(0, KEPT_NAME),
        module: addressIn(m, 3),
      }),
  },
  {
    id: "launch-ok",
    generation: "2025",
    markers: ["[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (vm="],
    pattern: /\[cuda-executor\] cuLaunchKernel SUCCESS: kernel executed on physical GPU \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuLaunchKernel SUCCESS: kernel executed on physical GPU (vm=11)"],
    read: (m) => inCall({ kind: "launch-ok", owner: decimal(m, 1), ...UNNAMED }),
  },
  {
    id: "launch-failed",
    markers: ["[cuda-executor] cuLaunchKernel sync FAILED: rc=", "[cuda-executor] cuLaunchKernel launch FAILED: rc="],
    pattern: new RegExp(
      String.raw`\[cuda-executor\] cuLaunchKernel (sync|launch) FAILED: rc=(-?\d{1,10}) ${FUNCTION} ${GRID} vm=(\d{1,10})`,
      "y",
    ),
    examples: [
      "[cuda-executor] cuLaunchKernel sync FAILED: rc=700 func=0x55eb0527a4d0 name=badstore mod=0x55eb05ca4850 grid=(1,1,1) block=(1,1,1) shared=0 params=1 vm=184549647",
      "[cuda-executor] cuLaunchKernel launch FAILED: rc=400 func=0x0 name=<unknown> mod=0x0 grid=(1,1,1) block=(1024,1,1) shared=0 params=30 vm=167820931",
    ],
    read: (m) =>
      inCall({
        kind: "launch-failed",
        stage: m[1] === "sync" ? "sync" : "launch",
        rc: decimal(m, 2),
        ...shapeIn(m, 3, 6, 14),
      }),
  },
  {
    id: "launch-failed",
    generation: "2025",
    markers: ["[cuda-executor] cuLaunchKernel FAILED: rc="],
    pattern: /\[cuda-executor\] cuLaunchKernel FAILED: rc=(-?\d{1,10}) \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuLaunchKernel FAILED: rc=700 (vm=9)"],
    read: (m) =>
      inCall({
        kind: "launch-failed",
        stage: null,
        rc: decimal(m, 1),
        owner: decimal(m, 2),
        ...UNNAMED,
        ...UNSIZED,
      }),
  },
  {
    id: "launch-detail",
    markers: [
      "[cuda-executor] cuLaunchKernel failure detail: ",
      "[cuda-executor] cuLaunchKernel launch failure detail: ",
    ],
    pattern:
      /\[cuda-executor\] cuLaunchKernel (?:launch )?failure detail: mode=(\d{1,10}) total_param_bytes=(\d{1,10}) vm=(\d{1,10})/y,
    examples: [
      "[cuda-executor] cuLaunchKernel failure detail: mode=1 total_param_bytes=8 vm=184549647",
      "[cuda-executor] cuLaunchKernel launch failure detail: mode=1 total_param_bytes=8 vm=184549647",
    ],
    read: (m) =>
      inCall({ kind: "launch-detail", owner: decimal(m, 3), mode: decimal(m, 1), paramBytes: decimal(m, 2) }),
  },
]);

const flag = (m: RegExpExecArray, index: number): boolean => m[index] === "1";

const MODULES = described("Mediator log: modules and libraries", "stderr", [
  {
    id: "module-chunk",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) module-chunk call_id=0x([0-9a-f]{4}) flags=0x[0-9a-f]{8} first=(\d) last=(\d) single=(\d) data_len=(\d{1,10}) first8=[0-9a-f]{16} used_before=(\d{1,20}) /y,
    examples: [
      "[cuda-executor] vm_id=184549525 module-chunk call_id=0x0040 flags=0x00000001 first=1 last=0 single=0 data_len=1024 first8=2e76657273696f6e used_before=0 alloc=0",
    ],
    read: (m) =>
      inCall({
        kind: "module-chunk",
        owner: decimal(m, 1),
        callId: callIdIn(m, 2),
        first: flag(m, 3),
        last: flag(m, 4),
        single: flag(m, 5),
        bytes: decimal(m, 6),
        usedBefore: decimal(m, 7),
      }),
  },
  {
    id: "module-load-start",
    generation: "any",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) module-load start call_id=0x([0-9a-f]{4}) path=(\w{1,60}) data_len=(\d{1,10})/y,
    examples: [
      "[cuda-executor] vm_id=9 module-load start call_id=0x0042 path=cuModuleLoadFatBinary data_len=28120 magic=0xba55ed50 first8=50ed55ba01001000",
    ],
    read: (m) =>
      inCall({
        kind: "module-load-start",
        owner: decimal(m, 1),
        callId: callIdIn(m, 2),
        path: textOf(m, 3),
        bytes: decimal(m, 4),
      }),
  },
  {
    id: "module-load-done",
    generation: "any",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) module-load done call_id=0x([0-9a-f]{4}) rc=(-?\d{1,10}) name=\w{1,60} detail=.{0,120} module=(?:0x([0-9a-f]{1,16})|\(nil\))/y,
    examples: [
      "[cuda-executor] vm_id=9 module-load done call_id=0x0042 rc=0 name=CUDA_SUCCESS detail=no error module=0x2b132f0",
      "[cuda-executor] vm_id=9 module-load done call_id=0x0042 rc=200 name=CUDA_ERROR_INVALID_IMAGE detail=device kernel image is invalid module=(nil)",
    ],
    read: (m) =>
      inCall({
        kind: "module-load-done",
        owner: decimal(m, 1),
        callId: callIdIn(m, 2),
        rc: decimal(m, 3),
        module: addressIn(m, 4),
      }),
  },
  {
    id: "module-jit-log",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) module-load JIT logs call_id=0x([0-9a-f]{4}) err_log="([^"\n]{0,4000})/y,
    examples: [
      "[cuda-executor] vm_id=184549632 module-load JIT logs call_id=0x0040 err_log=\"ptxas application ptx input, line 6; error   : Not a name of any known instruction: 'frobnicate'",
    ],
    read: (m) =>
      inCall({
        kind: "module-jit-log",
        owner: decimal(m, 1),
        callId: callIdIn(m, 2),
        error: textOf(m, 3).slice(0, KEPT_JIT_TEXT),
      }),
  },
  {
    id: "module-no-memory",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) cuModuleLoadFatBinary(?:: malloc\((\d{1,10})\) failed| OOM after copy data_len=(\d{1,10}))/y,
    examples: [
      "[cuda-executor] vm_id=184549632 cuModuleLoadFatBinary: malloc(8388608) failed (host heap)",
      "[cuda-executor] vm_id=184549632 cuModuleLoadFatBinary OOM after copy data_len=8388608",
    ],
    read: (m) =>
      inCall({
        kind: "module-no-memory",
        owner: decimal(m, 1),
        stage: m[2] === undefined ? "after-copy" : "host-heap",
        bytes: decimalOrNull(m, 2) ?? decimal(m, 3),
      }),
  },
  {
    id: "function",
    markers: ["[cuda-executor] cuModuleGetFunction success: "],
    pattern:
      /\[cuda-executor\] cuModuleGetFunction success: vm=(\d{1,10}) mod=0x([0-9a-f]{1,16}) func=0x([0-9a-f]{1,16}) name=([^\n]{0,4000})/y,
    examples: [
      "[cuda-executor] cuModuleGetFunction success: vm=184549525 mod=0x55eb051d18d0 func=0x55eb051d7580 name=vecadd",
    ],
    read: (m) =>
      startsCall({
        kind: "function",
        owner: decimal(m, 1),
        module: addressIn(m, 2),
        func: addressIn(m, 3),
        name: textOf(m, 4).slice(0, KEPT_NAME),
      }),
  },
  {
    id: "library-chunk",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) library-chunk flags=0x[0-9a-f]{8} first=(\d) last=(\d) single=(\d) data_len=(\d{1,10}) used=(\d{1,20}) /y,
    examples: [
      "[cuda-executor] vm_id=167820931 library-chunk flags=0x00000001 first=1 last=0 single=0 data_len=1024 used=1024 alloc=33554432",
    ],
    read: (m) =>
      inCall({
        kind: "library-chunk",
        owner: decimal(m, 1),
        first: flag(m, 2),
        last: flag(m, 3),
        single: flag(m, 4),
        bytes: decimal(m, 5),
        used: decimal(m, 6),
      }),
  },
  {
    id: "library-loaded",
    markers: ["[cuda-executor] cuLibraryLoadData success "],
    pattern:
      /\[cuda-executor\] cuLibraryLoadData success vm=(\d{1,10}) data_len=(\d{1,10}) lib=(?:0x[0-9a-f]{1,16}|\(nil\)) guest_handle=0x([0-9a-f]{1,16})/y,
    examples: [
      "[cuda-executor] cuLibraryLoadData success vm=167820931 data_len=61793 lib=0x2a2a920 guest_handle=0x2a2a920",
    ],
    read: (m) =>
      inCall({ kind: "library-loaded", owner: decimal(m, 1), bytes: decimal(m, 2), handle: addressIn(m, 3) }),
  },
  {
    id: "library-failed",
    markers: ["[cuda-executor] cuLibraryLoadData failed "],
    pattern: /\[cuda-executor\] cuLibraryLoadData failed vm=(\d{1,10}) data_len=(\d{1,10}) rc=(-?\d{1,10})/y,
    examples: ["[cuda-executor] cuLibraryLoadData failed vm=167820931 data_len=61793 rc=709"],
    read: (m) => inCall({ kind: "library-failed", owner: decimal(m, 1), bytes: decimal(m, 2), rc: decimal(m, 3) }),
  },
  {
    id: "library-table-full",
    markers: ["[cuda-executor] library table full "],
    pattern: /\[cuda-executor\] library table full vm=(\d{1,10}) max=\d{1,10} guest_handle=0x([0-9a-f]{1,16})/y,
    examples: ["[cuda-executor] library table full vm=167820931 max=64 guest_handle=0x2a2a920"],
    read: (m) => inCall({ kind: "library-table-full", owner: decimal(m, 1), handle: addressIn(m, 2) }),
  },
  {
    id: "library-module",
    markers: ["[cuda-executor] cuLibraryGetModule success "],
    pattern:
      /\[cuda-executor\] cuLibraryGetModule success vm=(\d{1,10}) guest_handle=0x([0-9a-f]{1,16}) lib=(?:0x[0-9a-f]{1,16}|\(nil\)) mod=(?:0x[0-9a-f]{1,16}|\(nil\)) guest_mod=0x([0-9a-f]{1,16})/y,
    examples: [
      "[cuda-executor] cuLibraryGetModule success vm=167820931 guest_handle=0x2a2a920 lib=0x2a2a920 mod=0x2a0c7e0 guest_mod=0x2a0c7e0",
    ],
    read: (m) =>
      startsCall({ kind: "library-module", owner: decimal(m, 1), handle: addressIn(m, 2), module: addressIn(m, 3) }),
  },
  {
    id: "library-module-failed",
    markers: ["[cuda-executor] cuLibraryGetModule failed ", "[cuda-executor] cuLibraryGetModule lookup miss "],
    pattern:
      /\[cuda-executor\] cuLibraryGetModule (?:failed|lookup miss) vm=(\d{1,10}) guest_handle=0x([0-9a-f]{1,16}) (?:lib=(?:0x[0-9a-f]{1,16}|\(nil\)) rc=(-?\d{1,10})|library_count=\d{1,10})/y,
    examples: [
      "[cuda-executor] cuLibraryGetModule failed vm=167820931 guest_handle=0x2a0c7b0 lib=0x2a0c7b0 rc=709",
      "[cuda-executor] cuLibraryGetModule lookup miss vm=167820931 guest_handle=0x2a0c7b0 library_count=3",
    ],
    read: (m) =>
      startsCall({
        kind: "library-module-failed",
        owner: decimal(m, 1),
        handle: addressIn(m, 2),
        rc: decimalOrNull(m, 3),
      }),
  },
]);

const OUTCOMES = new Map<string | undefined, "synthesized" | "failed" | "unsupported" | "invalid">([
  ["synthesized", "synthesized"],
  ["synthesized without driver API", "synthesized"],
  ["FAILED", "failed"],
  ["UNSUPPORTED", "unsupported"],
  ["INVALID_VALUE", "invalid"],
]);

const PARAMETERS = described("Mediator log: launches", "stderr", [
  {
    id: "param-info",
    markers: ["[cuda-executor] cuFuncGetParamInfo "],
    pattern:
      /\[cuda-executor\] cuFuncGetParamInfo (synthesized without driver API|synthesized|FAILED|UNSUPPORTED|INVALID_VALUE): vm=(\d{1,10}) func=0x([0-9a-f]{1,16}) (?:name=[^\n]{0,4000} )?param=(\d{1,20})(?: off=\d{1,20} size=\d{1,20})?(?: rc=(-?\d{1,10}))?/y,
    examples: [
      "[cuda-executor] cuFuncGetParamInfo UNSUPPORTED: vm=167820931 func=0x2bacb70 name=vecadd param=0 rc=801",
      "[cuda-executor] cuFuncGetParamInfo INVALID_VALUE: vm=167820931 func=0x0 param=0 (missing host function entry)",
      "[cuda-executor] cuFuncGetParamInfo FAILED: vm=167820931 func=0x2bacb70 name=vecadd param=1 rc=1(CUDA_ERROR_INVALID_VALUE) detail=invalid argument",
      "[cuda-executor] cuFuncGetParamInfo synthesized: vm=167820931 func=0x2bacb70 name=k_set_rows param=1 off=8 size=8 rc=801",
      "[cuda-executor] cuFuncGetParamInfo synthesized without driver API: vm=167820931 func=0x2bacb70 name=k_set_rows param=1 off=8 size=8",
    ],
    read: (m): MediatorReading =>
      startsCall({
        kind: "param-info",
        owner: decimal(m, 2),
        outcome: OUTCOMES.get(m[1]) ?? "failed",
        func: addressIn(m, 3),
        param: decimal(m, 4),
        rc: decimalOrNull(m, 5),
      }),
  },
]);

/** Lines of the executor about modules, libraries and kernels. */
export const KERNEL_LINES: readonly MediatorGrammar[] = [...LAUNCHES, ...MODULES, ...PARAMETERS];
