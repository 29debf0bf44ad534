/**
 * The files that the shims leave behind in /tmp (docs/wire.md, "State files"). They are hints, never proof: the next
 * process deletes or overwrites them, a second uid cannot write them, a reboot may keep them. Whoever believes one
 * compares its owner, its time and the pid inside with the process it is believed of. Absence says nothing.
 */
export interface StateFileGrammar {
  /** Name as it is known; for a family of files the name with PID in place of the number. */
  readonly name: string;
  /** The file's name in its directory, whole. */
  readonly pattern: RegExp;
  readonly directory: "/tmp";
  readonly description: string;
  /** Fields of the content, or null when the content is not of this format. Never payload: no bytes of the program's data. */
  parse(bytes: Buffer): Record<string, string | number> | null;
}

export type StateFields = Record<string, string | number>;

/** Only this much of a file is looked at: its last part, as the files that grow are appended to. */
export const STATE_FILE_WINDOW = 64 * 1024;
/** Longest free text kept of a file. */
const FREE_TEXT = 160;
const MAX_PIDS = 256;

const textIn = (bytes: Buffer): string =>
  bytes.subarray(Math.max(0, bytes.length - STATE_FILE_WINDOW)).toString("latin1");

/** Free text with anything but printable ASCII replaced, cut. */
const plain = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]/g, "?")
    .trim()
    .slice(0, FREE_TEXT);

/** "0x00fe" or "254"; the caller's pattern has made sure that it is one of them. */
const numberIn = (text: string | undefined): number =>
  text?.startsWith("0x") ? Number.parseInt(text.slice(2), 16) : Number.parseInt(text ?? "", 10);

/** The match that comes last: files that are appended to tell the newest there. */
function lastMatch(text: string, pattern: RegExp): { readonly match: RegExpExecArray; readonly count: number } | null {
  let found: RegExpExecArray | null = null;
  let count = 0;
  for (const match of text.matchAll(pattern)) {
    found = match;
    count += 1;
  }
  return found === null ? null : { match: found, count };
}

/** `name=number` pairs that details carry, each under the name that it is told by. */
function detailFields(detail: string): StateFields {
  const fields: StateFields = {};
  const names = { host_cuda_status: "hostStatus", seq: "seq", vm_id: "vmId", real_cublasCreate_v2: "cublasStatus" };
  for (const [, key, value] of detail.matchAll(
    /\b(host_cuda_status|seq|vm_id|real_cublasCreate_v2)=(0x[0-9a-f]{1,8}|\d{1,10})\b/g,
  )) {
    for (const [printed, name] of Object.entries(names)) if (printed === key) fields[name] = numberIn(value);
  }
  return fields;
}

const LAST_ERROR =
  /^VGPU_ERR\|(\d{1,12})\|([A-Z][A-Z0-9_]{1,40})\|(0x[0-9a-f]{1,8}|\d{1,10})\|(0x[0-9a-f]{1,8}|\d{1,10})\|([^\r\n]{0,400})/;
const CHECKPOINT = /^VGPU_CHECKPOINT\|(\d{1,12})\|([A-Z][A-Z0-9_]{1,40})\s*$/;
const RETURNED = /^ret=(-?\d{1,10}) call_id=0x([0-9a-f]{1,8}) seq=(\d{1,10})/;
const ONE_PID = /^pid=(\d{1,10})\s*$/;
const CUBLAS_MODE = /^VGPU_CUBLAS_MODE=([A-Z][A-Z_]{1,40})\s*$/;
const SHIM_LOG =
  /cuInit\(\) OK: bdf=([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) CC=(\d{1,3}\.\d{1,2}) VRAM=(\d{1,9}) MB/g;
const MODULE_RESULT =
  /cuModuleLoadData result kind=(\w{1,24}) size=(\d{1,15}) rc=(-?\d{1,10}) host_status=(\d{1,10})(?:[^\n]{0,120}\(pid=(\d{1,10})\))?/g;

function debugReport(text: string): StateFields | null {
  const head = /^timestamp: (\d{1,12}) {1,4}pid: (\d{1,10})\s*$/m.exec(text);
  const failed = /^>>> WHAT FAILED: ([A-Z][A-Z0-9_]{1,40})\s*$/m.exec(text);
  if (head === null || failed === null) return null;
  const fields: StateFields = { at: numberIn(head[1]), pid: numberIn(head[2]), code: failed[1] ?? "" };
  const call = /^>>> FAILING CALL: [^\r\n]{0,80}\(call_id=0x([0-9a-f]{1,8})\)/m.exec(text);
  if (call !== null) fields["callId"] = Number.parseInt(call[1] ?? "", 16);
  const error = /^>>> TRANSPORT ERR: 0x([0-9a-f]{1,8})/m.exec(text);
  if (error !== null) fields["error"] = Number.parseInt(error[1] ?? "", 16);
  const detail = /^>>> DETAIL: ([^\r\n]{0,400})/m.exec(text);
  if (detail !== null) Object.assign(fields, { detail: plain(detail[1] ?? "") }, detailFields(detail[1] ?? ""));
  const phase = /^(?:[A-Z0-9_]{1,24} -> ){0,8}([A-Z][A-Z0-9_]{1,23})\s*$/m.exec(
    text.slice(text.indexOf("CHECKPOINT TRAIL")),
  );
  if (phase !== null) fields["phase"] = phase[1] ?? "";
  return fields;
}

function ownerPids(text: string): StateFields | null {
  const rows = text.split("\n").map((row) => row.trim());
  const pids = rows.filter((row) => row !== "").slice(0, MAX_PIDS);
  return pids.every((row) => /^\d{1,10}$/.test(row)) ? { count: pids.length, pids: pids.join(" ") } : null;
}

/** All times in fields (`at`) are epoch seconds, as the shim writes them. */
export const STATE_FILES: readonly StateFileGrammar[] = [
  {
    name: "vgpu_last_error",
    pattern: /^vgpu_last_error$/,
    directory: "/tmp",
    description: "The last error of the transport; deleted at every connect of the driver shim.",
    parse: (bytes) => {
      const match = LAST_ERROR.exec(textIn(bytes));
      if (match === null) return null;
      const detail = match[5] ?? "";
      return {
        at: numberIn(match[1]),
        code: match[2] ?? "",
        callId: numberIn(match[3]),
        error: numberIn(match[4]),
        detail: plain(detail),
        ...detailFields(detail),
      };
    },
  },
  {
    name: "vgpu_checkpoint",
    pattern: /^vgpu_checkpoint$/,
    directory: "/tmp",
    description: "The last step of connecting that was reached. FIRST_CALL is written before the answer, not after it.",
    parse: (bytes) => {
      const match = CHECKPOINT.exec(textIn(bytes));
      return match === null ? null : { at: numberIn(match[1]), phase: match[2] ?? "" };
    },
  },
  {
    name: "vgpu_debug.txt",
    pattern: /^vgpu_debug\.txt$/,
    directory: "/tmp",
    description: "The report written with the last error: the failing call, the process and the steps reached.",
    parse: (bytes) => debugReport(textIn(bytes)),
  },
  {
    name: "vgpu_transport_returned_nonzero",
    pattern: /^vgpu_transport_returned_nonzero$/,
    directory: "/tmp",
    description: "The last call that ended with an error of the host although its transfer was done.",
    parse: (bytes) => {
      const match = RETURNED.exec(textIn(bytes));
      if (match === null) return null;
      return { result: numberIn(match[1]), callId: Number.parseInt(match[2] ?? "", 16), seq: numberIn(match[3]) };
    },
  },
  {
    name: "vgpu_ensure_connected_called",
    pattern: /^vgpu_ensure_connected_called$/,
    directory: "/tmp",
    description: "The last process that set out to connect.",
    parse: (bytes) => {
      const match = ONE_PID.exec(textIn(bytes));
      return match === null ? null : { pid: numberIn(match[1]) };
    },
  },
  {
    name: "vgpu_cuda_owner_pids",
    pattern: /^vgpu_cuda_owner_pids$/,
    directory: "/tmp",
    description: "Processes that connected and did not exit cleanly. Short processes never enter themselves.",
    parse: (bytes) => ownerPids(textIn(bytes)),
  },
  {
    name: "vgpu_status",
    pattern: /^vgpu_status$/,
    directory: "/tmp",
    description: "Where the cuBLAS shim's last handle came from: REMOTE is the host.",
    parse: (bytes) => {
      const match = CUBLAS_MODE.exec(textIn(bytes));
      return match === null ? null : { cublasMode: match[1] ?? "" };
    },
  },
  {
    name: "vgpu-shim-cuda-PID.log",
    pattern: /^vgpu-shim-cuda-\d{1,10}\.log$/,
    directory: "/tmp",
    description: "cuInit of one process found the device; written also by discovery processes whose stderr is lost.",
    parse: (bytes) => {
      const last = lastMatch(textIn(bytes), SHIM_LOG);
      if (last === null) return null;
      const [, bdf, compute, memoryMb] = last.match;
      return { bdf: bdf ?? "", compute: compute ?? "", memoryMb: numberIn(memoryMb), inits: last.count };
    },
  },
  {
    name: "vgpu_next_call.log",
    pattern: /^vgpu_next_call\.log$/,
    directory: "/tmp",
    description: "Grows with every copy and synchronisation asked for, before it is tried: only its size is of use.",
    parse: () => ({}),
  },
  {
    name: "vgpu_module_load_diag.txt",
    pattern: /^vgpu_module_load_diag\.txt$/,
    directory: "/tmp",
    description: "Results of module loads, with the host's code.",
    parse: (bytes) => {
      const last = lastMatch(textIn(bytes), MODULE_RESULT);
      if (last === null) return null;
      const [, kind, size, rc, hostStatus, pid] = last.match;
      const fields: StateFields = {
        kind: kind ?? "",
        sizeBytes: numberIn(size),
        rc: numberIn(rc),
        hostStatus: numberIn(hostStatus),
        results: last.count,
      };
      if (pid !== undefined) fields["pid"] = numberIn(pid);
      return fields;
    },
  },
];

/** The grammar of a file by its name in its directory; undefined for a file that is none of the shim's. */
export const stateFileNamed = (name: string): StateFileGrammar | undefined =>
  STATE_FILES.find((file) => file.pattern.test(name));
