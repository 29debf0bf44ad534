import { countFile, type FileCount } from "./bulk-count.ts";
import { Doubt } from "./bulk-offsets.ts";
import type { BulkFile, Window } from "./bulk-walk.ts";

/** Files to be counted, by several threads: each takes the next one that none has taken. */
export interface Share {
  readonly files: readonly BulkFile[];
  readonly unit: string;
  readonly window: Window;
  /** One number: the index of the next file. Set past the end to stop. */
  readonly next: SharedArrayBuffer;
}

/** What became of one file: counted, or in doubt for a reason. */
export interface Outcome {
  readonly index: number;
  readonly count: FileCount | null;
  readonly doubt: string;
}

/** Takes files and counts them until none is left. */
export async function runShare(share: Share, done: (outcome: Outcome) => void): Promise<void> {
  const next = new Int32Array(share.next);
  for (;;) {
    const index = Atomics.add(next, 0, 1);
    const file = share.files[index];
    if (file === undefined) return;
    try {
      done({ index, count: await countFile(file, share.unit, share.window), doubt: "" });
    } catch (error) {
      // A file system's error is a doubt as well: the reader that is asked next says what it is.
      if (!(error instanceof Doubt || (error instanceof Error && "syscall" in error))) throw error;
      done({ index, count: null, doubt: error.message });
    }
    await new Promise((resume) => setImmediate(resume));
  }
}
