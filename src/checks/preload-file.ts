import type { PreloadLine } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { evidence, info, type Judgement, pass, unknown } from "./finding.ts";

const FILE = "/etc/ld.so.preload";

/** A line in this file is loaded into every process of the machine; several VMs were lost to one. */
export const preloadFile: Check = {
  name: "preload-file",
  title: "Is /etc/ld.so.preload free of shims?",
  hop: "shim",
  after: [],
  causes: ["VG-L01", "VG-L02"],
  judge({ preload }) {
    if (preload.state !== "read") return [unknown(`${FILE} was not read: ${preload.detail}`)];
    const { lines } = preload.value;
    const found: Judgement[] = [];
    const shims = lines.filter((line) => line.kind === "shim" || line.kind === "cuda-name");
    if (shims.length > 0) found.push(problem("VG-L01", { lines: numbers(shims) }, shown(shims)));
    const garbage = lines.filter((line) => line.kind === "not-an-existing-library");
    if (garbage.length > 0) found.push(problem("VG-L02", { lines: numbers(garbage) }, shown(garbage)));
    const unreadable = lines.filter((line) => line.kind === "unreadable-library");
    if (unreadable.length > 0) {
      const what = `line ${numbers(unreadable)} names a library that may not be read: what it is cannot be told`;
      found.push(unknown(what, shown(unreadable)));
    }
    if (found.length === 0) {
      const shownAs = [evidence(FILE, FILE, `${lines.length} lines`)];
      // Other libraries in it are loaded into every process too: worth a word, and no fault of the vGPU's.
      found.push(
        lines.length === 0 ? pass("no line in it", shownAs) : info(`${lines.length} lines, none a shim`, shownAs),
      );
    }
    return found;
  },
};

function numbers(lines: readonly PreloadLine[]): string {
  return lines.map(({ line }) => line).join(", ");
}

function shown(lines: readonly PreloadLine[]) {
  return lines.map(({ line, kind }) => evidence(FILE, `line ${line}`, kind));
}
