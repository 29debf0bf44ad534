import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Report, reportSchema } from "../src/report/report.ts";
import { type Container, startContainer } from "./bench/container.ts";
import type { ProcessResult } from "./bench/process.ts";
import { ensureContainer } from "./bench/setup.ts";
import { compileLibrary, DRIVER_SHIM } from "./support/real-process.ts";
import { buildLauncher, CHECKOUT, openDirectory } from "./support/static-launcher.ts";

const directory = openDirectory();
const skip = buildLauncher(directory) || ((await ensureContainer()) ?? false);

const PREFIX = "/opt/installed";
/** Where a container shows the checkout. */
const SHOWN = "/opt/vgpu-agent";
const LIBRARY = `${PREFIX}/lib/vgpu-agent`;
const SHIM = "/opt/shim/libvgpu-cuda.so.1";
const DOCTOR = `${PREFIX}/bin/vgpu-agent doctor --json --only self-integrity,preload-file`;
/** Lines of the installed unit that say how it is kept running: here it runs once, and as a user that is there. */
const OTHER_WAY =
  /^(?:Type|Exec\w+|Restart\w*|WatchdogSec|User|Group|SupplementaryGroups|StateDirectory\w*|StartLimit\w+)=/;

/** The sandbox of the installed unit around the doctor. `without` takes lines away. */
function unit(without = /^$/): string {
  const installed = readFileSync(join(CHECKOUT, "install/systemd/vgpu-agent.service"), "utf8").split("\n");
  const kept = installed.slice(installed.indexOf("[Service]") + 1, installed.indexOf("[Install]"));
  return [
    "[Service]",
    ...kept.filter((line) => !OTHER_WAY.test(line) && !without.test(line)),
    ...["Type=oneshot", "User=daemon", "Group=daemon", `ExecStart=${DOCTOR}`],
    ...["StandardOutput=file:/run/said", "StandardError=file:/run/complaint", ""],
  ].join("\n");
}

const start = () =>
  startContainer({
    devices: [],
    files: {
      [SHIM]: { from: compileLibrary(directory, "libvgpu-cuda.so.1", DRIVER_SHIM), mode: 0o755 },
      [`${PREFIX}/bin/vgpu-agent`]: { from: join(directory, "vgpu-agent"), mode: 0o755 },
      [`${LIBRARY}/node/bin/node`]: { link: `${SHOWN}/node_modules/node/bin/node` },
      [`${LIBRARY}/bin`]: { link: `${SHOWN}/bin` },
      // It breaks nothing: bash has to start in here for the test itself.
      "/etc/ld.so.preload": `${SHIM}\n`,
    },
    units: {
      "whole.service": unit(),
      "weak.service": unit(/^(?:AmbientCapabilities|CapabilityBoundingSet)=/),
      "open.service": unit(/^InaccessiblePaths=/),
    },
  });

async function runUnit(box: Container, name: string): Promise<ProcessResult> {
  const script = `rm -f /run/said /run/complaint; systemctl start ${name} 2>/dev/null
    cat /run/said; cat /run/complaint >&2; exit "$(systemctl show ${name} -P ExecMainStatus)"`;
  return await box.exec(script);
}

const parse = (said: string): Report => reportSchema.parse(JSON.parse(said));
const cause = (report: Report) => report.findings.find(({ check }) => check === "preload-file")?.cause;
const source = (report: Report) => report.sources.find(({ name }) => name === "/etc/ld.so.preload");

describe("the launcher on a system whose first process is systemd", { skip }, () => {
  it("names the shim in /etc/ld.so.preload as root, and by the installed unit without being root", async () => {
    await using box = await start();
    const root = await box.exec(DOCTOR);
    assert.equal(root.exitCode, 3, root.stderr);
    assert.equal(cause(parse(root.stdout)), "VG-L01");
    assert.match(source(parse(root.stdout))?.detail ?? "", /below the launcher's empty file$/);
    const after = await box.exec(
      "grep -c ld.so.preload /proc/1/mountinfo /proc/self/mountinfo; cat /etc/ld.so.preload",
    );
    assert.equal(after.stdout, `/proc/1/mountinfo:0\n/proc/self/mountinfo:0\n${SHIM}\n`);

    const whole = await runUnit(box, "whole.service");
    assert.equal(whole.exitCode, 3, whole.stderr);
    assert.equal(cause(parse(whole.stdout)), "VG-L01");
    assert.match(source(parse(whole.stdout))?.detail ?? "", /of process 1/);

    const weak = await runUnit(box, "weak.service");
    assert.equal(weak.exitCode, 1, weak.stderr);
    assert.equal(source(parse(weak.stdout))?.state, "denied", "covered, and not to be reached: never empty");

    const open = await runUnit(box, "open.service");
    assert.deepEqual([open.exitCode, open.stdout], [1, ""]);
    assert.match(open.stderr, /^vgpu-agent: \/etc\/ld\.so\.preload names a library .*\nRun this as root: /);
  });
});
