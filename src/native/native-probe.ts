import { existsSync } from "node:fs";
import { join } from "node:path";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { PACKAGE_HOME } from "../package-files.ts";

/**
 * Declarations of native-probe (native-probe/include/native_probe.h). Loaded in the disposable child process alone: a
 * load from a BAR can stall or crash the process that does it.
 */

/** NP_ABI_VERSION that these declarations are for. */
const ABI_VERSION = 1;

/** Why a call of native-probe did not succeed. */
export interface ProbeFailure {
  /** np_step_name(): "open", "mmap", "identity". */
  readonly step: string;
  /** errno name; null when no system call failed. */
  readonly errno: string | null;
  /** np_refusal_name(): "none" when the kernel, not native-probe, said no. */
  readonly refusal: string;
  /** The value that was refused; 0 when there is none. */
  readonly value: number;
}

/** A register that native-probe would not read: an error of the caller. */
export class ProbeError extends Error {
  readonly failure: ProbeFailure;
  constructor(failure: ProbeFailure) {
    super(`native-probe: ${failure.step}: ${failure.errno ?? failure.refusal}`);
    this.failure = failure;
  }
}

/** An open BAR0. */
export interface Bar0 {
  /** One load of a register that is safe to read, by byte offset; throws ProbeError for any other. */
  read32(offset: number): number;
  /** STATUS; throws ProbeError the second time. */
  readStatus(): number;
  close(): void;
}

/** A device that was opened, or why it was not: expected for every device that is not a vGPU. */
export type Opened =
  | { readonly ok: true; readonly bar0: Bar0 }
  | { readonly ok: false; readonly failure: ProbeFailure };

export interface NativeProbe {
  /** Opens BAR0 of a sysfs device directory. */
  open(deviceDirectory: string): Opened;
  /** 0: must not be read, 1: safe, 2: STATUS. */
  registerClass(offset: number): number;
}

/** Path of the library: what `npm install` built, else the prebuilt one; null when there is neither. */
export function nativeProbePath(): string | null {
  const home = join(PACKAGE_HOME, "native-probe");
  const name = "libnative_probe.so";
  const places = [join(home, "build", name), join(home, "prebuilt", `${process.platform}-${process.arch}`, name)];
  return places.find((place) => existsSync(place)) ?? null;
}

/** Loads the library. Throws when it cannot be loaded or is of another version. */
export function loadNativeProbe(path: string): NativeProbe {
  const library = koffi.load(path);
  const version: unknown = library.func("uint32_t np_abi_version(void)")();
  if (version !== ABI_VERSION) throw new Error(`${path} has ABI version ${version}, not ${ABI_VERSION}: npm rebuild`);

  const stepName = library.func("const char *np_step_name(int32_t)");
  const refusalName = library.func("const char *np_refusal_name(int32_t)");
  const registerClass = library.func("int32_t np_register_class(uint32_t)");
  const openDevice = library.func("void *np_open(const char *, _Out_ int32_t *)");
  const read32 = library.func("int32_t np_read32(void *, uint32_t, _Out_ uint32_t *, _Out_ int32_t *)");
  const readStatus = library.func("int32_t np_read_status(void *, _Out_ uint32_t *, _Out_ int32_t *)");
  const close = library.func("void np_close(void *)");

  const failureOf = (result: Int32Array): ProbeFailure => {
    const [step = 0, error = 0, refusal = 0, value = 0] = result;
    return {
      step: String(stepName(step)),
      errno: error === 0 ? null : getSystemErrorName(-error),
      refusal: String(refusalName(refusal)),
      value: value >>> 0,
    };
  };

  const open = (deviceDirectory: string): Opened => {
    const result = new Int32Array(4); // struct np_result
    const handle: unknown = openDevice(deviceDirectory, result);
    if (handle === null) return { ok: false, failure: failureOf(result) };
    const value = new Uint32Array(1);
    const checked = (rc: unknown): number => {
      if (rc !== 0) throw new ProbeError(failureOf(result));
      return value[0] ?? 0;
    };
    const bar0: Bar0 = {
      read32: (offset) => checked(read32(handle, offset, value, result)),
      readStatus: () => checked(readStatus(handle, value, result)),
      close: () => close(handle),
    };
    return { ok: true, bar0 };
  };

  return { open, registerClass: (offset) => Number(registerClass(offset)) };
}
