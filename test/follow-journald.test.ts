import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { JournalFollower } from "../src/agent/observe/journal-follow.ts";
import type { LogPosition } from "../src/agent/observe/log-position.ts";
import { filesOfDirectory } from "../src/sensors/journal/find-files.ts";
import { RootFs } from "../src/sensors/root-fs.ts";
import { type Container, startContainer } from "./bench/container.ts";
import { ensureContainer } from "./bench/setup.ts";

/** Following the journal of a real journald, while it is rotated, vacuumed and restarted. */

const skip = (await ensureContainer()) ?? false;
const UNIT = "ollama.service";
const LINES = 60_000;
const fs = new RootFs("/");
const NUMBER = /^line (\d+)$/;

/** Prints numbered lines in bursts, with pauses that let others work. */
const program = `[Service]
LogRateLimitIntervalSec=1us
ExecStart=/bin/sh -c "for burst in $(seq 0 ${LINES / 1000 - 1} | tr '\\\\n' ' '); do seq -f 'line %%.0f' $((burst * 1000)) $((burst * 1000 + 999)); sleep 0.1; done; echo the end; exec sleep 600"
`;

class Reading {
  readonly directory: string;
  readonly numbers: number[] = [];
  readonly gaps: string[] = [];
  ended = false;
  position: LogPosition | null = null;

  constructor(directory: string) {
    this.directory = directory;
  }

  open(): JournalFollower {
    const after = this.position?.kind === "journal" ? this.position : null;
    const find = () => filesOfDirectory(fs, this.directory);
    return new JournalFollower({
      fs,
      find,
      unit: UNIT,
      after,
      since: 0,
      monotonic: () => performance.now(),
      rescanMs: 200,
    });
  }

  async poll(follower: JournalFollower): Promise<boolean> {
    const { items, position, more } = await follower.poll();
    for (const item of items) {
      if (item.kind === "gap") {
        this.gaps.push(item.text);
        continue;
      }
      const text = item.entry.message.toString("latin1");
      const number = NUMBER.exec(text)?.[1];
      if (number !== undefined) this.numbers.push(Number(number));
      if (text === "the end") this.ended = true;
    }
    this.position = position ?? this.position;
    return more;
  }
}

const all = Array.from({ length: LINES }, (_, index) => index);

describe("a real journald's journal", { skip }, () => {
  let box: Container;
  let directory = "";
  before(async () => {
    box = await startContainer({ devices: [], units: { [UNIT]: program } });
    directory = join(box.journalDir, (await box.exec("cat /etc/machine-id")).stdout.trim());
  });
  after(() => box[Symbol.asyncDispose]());

  it("is followed without a line lost or read twice over rotations, restarts of journald and of the reader", async () => {
    const reading = new Reading(directory);
    let follower = reading.open();
    await box.exec("systemctl start ollama");
    const trouble = box.exec(
      "for i in $(seq 12); do journalctl --rotate; sleep 0.3; done; systemctl restart systemd-journald; for i in $(seq 5); do sleep 0.3; journalctl --rotate; done",
      { timeoutMs: 60_000 },
    );
    const until = performance.now() + 90_000;
    for (let round = 0; !reading.ended && performance.now() < until; round += 1) {
      const more = await reading.poll(follower);
      if (round % 20 === 19) {
        await follower.close();
        follower = reading.open();
      }
      if (!more) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await trouble;
    await follower.close();
    assert.deepEqual(reading.gaps, []);
    assert.equal(reading.numbers.length, LINES);
    assert.deepEqual(reading.numbers, all);
  });

  it("says what was vacuumed while nobody read, and goes on at the oldest entry that is left", async () => {
    const early = new Reading(directory);
    const first = early.open();
    await early.poll(first);
    await first.close();
    const read = early.numbers.length;
    assert.ok(read > 0 && read < LINES / 2, String(read));
    await box.exec("journalctl --rotate; journalctl --vacuum-files=2; logger -t x after");
    const follower = early.open();
    while (await early.poll(follower));
    await follower.close();
    assert.equal(early.gaps.length, 1, early.gaps.join("; "));
    assert.match(
      early.gaps[0] ?? "",
      /^entries \d+ to \d+ of the journal, of any unit, were gone before they were read$/,
    );
  });
});
