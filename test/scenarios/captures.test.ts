import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type DoctorOptions, doctor } from "../../src/commands/doctor.ts";
import { PLAIN_OPTIONS } from "../../src/report/format.ts";
import { reportSchema } from "../../src/report/report.ts";
import { runOrThrow } from "../bench/process.ts";
import { ensureVm } from "../bench/setup.ts";
import { bootVm, type VmRun } from "../bench/vm.ts";
import { CAPTURED_UNIT, CAPTURES, type CaptureScenario } from "./captures.ts";
import { expectTruth } from "./expect.ts";
import type { Truth } from "./scenario.ts";

const skip = (await ensureVm()) ?? false;
const CAPTURE = fileURLToPath(new URL("../bench/guest/capture.sh", import.meta.url));
/** Seconds. Under emulation the doctor's Node alone needs several to start. */
const DOCTOR_LIMIT_S = 90;

describe("a VM is judged elsewhere as it is judged on the spot", { skip }, () => {
  let scratch = "";
  let run: VmRun;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), "vgpu-captures-"));
    run = await bootVm({
      image: "systemd",
      device: { vmId: 11 },
      files: {
        "/etc/systemd/system/ollama.service": CAPTURED_UNIT,
        "/bench/capture.sh": { from: CAPTURE, mode: 0o755 },
      },
      steps: CAPTURES.flatMap(({ name, setUp }) => [
        { name: `set up ${name}`, run: setUp },
        { name: `doctor ${name}`, run: "vgpu-agent doctor --json", timeoutS: DOCTOR_LIMIT_S },
        { name: `capture ${name}`, run: `/bench/capture.sh ${name}` },
      ]),
      collect: ["/captures/*"],
      timeoutMs: 400_000,
    });
  });
  after(() => rm(scratch, { recursive: true, force: true }));

  const bytesOf = (file: string) => run.files.bytes(`/captures/${file}`);

  /** The capture as its receiver has it: unpacked with modes and owners. */
  async function unpack({ name }: CaptureScenario): Promise<string> {
    const root = await mkdtemp(join(scratch, `${name}-`));
    const archive = `${root}.tar`;
    await writeFile(archive, bytesOf(`${name}.tar`));
    await runOrThrow("tar", ["-xpf", archive, "-C", root]);
    await rm(archive);
    return root;
  }

  for (const scenario of CAPTURES) {
    it(`${scenario.name}: ${scenario.story}`, async (t) => {
      const { name, truth, byJournal } = scenario;
      const live = run.steps.get(`doctor ${name}`);
      assert.ok(live !== undefined, `the step did not end; the console said:\n${run.serial.slice(-2000)}`);
      expectTruth(`${name}, in the VM`, truth, live.stdout, live.exitCode);
      const root = await unpack(scenario);
      const journal = join(root, "var/log/journal");
      await t.test("from the whole capture", () => expect(truth, { root }));
      await t.test("from the journal alone", () => expect(byJournal, { journal }));
      await t.test("from the text of the journal alone", async () => {
        const log = `${root}.txt`;
        await writeFile(log, bytesOf(`${name}.txt`));
        await expect(byJournal, { log });
      });
      await t.test("without the permissions, which the copy lost, no other cause is named", async () => {
        await loseModes(join(root, "sys/devices"));
        const { report } = await judge({ root });
        const named = report.verdict.cause;
        assert.ok(named === null || named === truth.cause, `${named}: ${report.verdict.statement}`);
        if (truth.rung !== "configured") assert.equal(report.verdict.rung, truth.rung);
      });
    });
  }
});

type Given = Partial<Pick<DoctorOptions, "root" | "journal" | "log">>;

async function judge(given: Given) {
  const { text, exitCode } = await doctor({
    root: given.root ?? null,
    unit: "ollama.service",
    pid: null,
    window: { since: null, until: null },
    journal: given.journal ?? null,
    log: given.log ?? null,
    live: null,
    mediatorLog: null,
    host: null,
    selection: { only: [], skip: [] },
    format: "json",
    render: PLAIN_OPTIONS,
    progress: false,
  });
  return { text, exitCode, report: reportSchema.parse(JSON.parse(text)) };
}

async function expect(truth: Truth | null, given: Given): Promise<void> {
  const { text, exitCode, report } = await judge(given);
  if (truth !== null) expectTruth(JSON.stringify(given), truth, text, exitCode);
  else
    assert.deepEqual([report.verdict.rung, report.verdict.cause, exitCode], [null, null, 1], report.verdict.statement);
}

/** As after a copy that keeps no modes. */
async function loseModes(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o644);
}
