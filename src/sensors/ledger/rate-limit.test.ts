import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { captureTree } from "../../../test/support/real-process.ts";
import { RootFs } from "../root-fs.ts";
import { DEFAULT_RATE_LIMIT } from "./rate-cap.ts";
import { readRateLimit } from "./rate-limit.ts";

const UNIT = "ollama.service";
const limitOf = async (files: Readonly<Record<string, string>>) =>
  await readRateLimit(new RootFs(await captureTree({ "etc/hostname": "x", ...files })), UNIT);

describe("journald's limit for a unit", () => {
  it("is the default where nothing is set", async () => {
    assert.deepEqual(await limitOf({}), DEFAULT_RATE_LIMIT);
    assert.deepEqual(
      await limitOf({ "etc/systemd/journald.conf": "[Journal]\n#RateLimitBurst=5\n" }),
      DEFAULT_RATE_LIMIT,
    );
  });

  it("is journald's own from its file and drop-ins, /etc before /usr, by name", async () => {
    const limit = await limitOf({
      "etc/systemd/journald.conf": "[Journal]\nRateLimitIntervalSec=1min 30s\nRateLimitBurst=5\n",
      "usr/lib/systemd/journald.conf.d/20-x.conf": "[Journal]\nRateLimitBurst=6\n",
      "etc/systemd/journald.conf.d/20-x.conf": "[Journal]\nRateLimitBurst=7\n",
      "run/systemd/journald.conf.d/10-y.conf": "[Journal]\nRateLimitBurst=8\nRateLimitIntervalSec=500ms\n",
    });
    assert.deepEqual(limit, { intervalMs: 500, burst: 7 });
  });

  it("is none when journald's is 0", async () => {
    assert.equal(await limitOf({ "etc/systemd/journald.conf": "[Journal]\nRateLimitIntervalSec=0\n" }), null);
  });

  it("is the unit's where the unit sets one, and a 0 there sets nothing", async () => {
    const journald = { "etc/systemd/journald.conf": "[Journal]\nRateLimitBurst=5\n" };
    const unit = {
      "etc/systemd/system/ollama.service": "[Service]\nLogRateLimitIntervalSec=2s\nLogRateLimitBurst=9\n",
    };
    assert.deepEqual(await limitOf({ ...journald, ...unit }), { intervalMs: 2000, burst: 9 });
    const zero = {
      "etc/systemd/system/ollama.service.d/a.conf": "[Service]\nLogRateLimitIntervalSec=0\nLogRateLimitBurst=0\n",
    };
    assert.deepEqual(await limitOf({ ...journald, ...unit, ...zero }), { intervalMs: 30_000, burst: 5 });
  });

  it("is what the manager tells journald, before any file", async () => {
    const root = await captureTree({
      "etc/systemd/system/ollama.service": "[Service]\nLogRateLimitBurst=9\n",
    });
    await mkdir(join(root, "run/systemd/units"), { recursive: true });
    symlinkSync("2000000", join(root, "run/systemd/units/log-rate-limit-interval:ollama.service"));
    symlinkSync("1000", join(root, "run/systemd/units/log-rate-limit-burst:ollama.service"));
    assert.deepEqual(await readRateLimit(new RootFs(root), UNIT), { intervalMs: 2000, burst: 1000 });
  });

  it("does not take what is no number for one", async () => {
    const odd = { "etc/systemd/journald.conf": "[Journal]\nRateLimitIntervalSec=soon\nRateLimitBurst=-4\n" };
    assert.deepEqual(await limitOf(odd), DEFAULT_RATE_LIMIT);
  });
});
