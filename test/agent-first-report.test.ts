import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { it } from "node:test";
import { reportSchema } from "../src/report/report.ts";
import { launchLines, requestLine, startLines } from "./fixtures/guest-lines.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { ReportingHost, until } from "./support/reporting-host.ts";
import { setUpAgent, startAgent } from "./support/running-agent.ts";

const VM = 11;
const PID = 4711;

it("the first report of a service that has just started leaves nothing out because it was not tried yet", async () => {
  const home = temporaryDirectory();
  const set = setUpAgent(home);
  appendFileSync(set.log, `${[...startLines(VM, PID), ...launchLines(PID, 1), requestLine()].join("\n")}\n`);
  const host = await ReportingHost.start(home, VM, set.enrolment);
  const agent = startAgent(set.config, set.state);
  // Levels are first looked at within 10 s, one after the other.
  await until(() => host.entries("report").length > 0, "the first report", 60_000);
  await agent.kill("SIGTERM");
  await host.down();
  const [first] = host.entries("report").map((one) => reportSchema.parse(one));
  assert.ok(first !== undefined);
  const untried = first.sources.filter(({ detail }) => /not read it yet|no log is followed yet/.test(detail));
  assert.deepEqual(untried, []);
  const log = first.sources.filter(({ detail }) => /not been read up to its end/.test(detail));
  assert.deepEqual(log, []);
  assert.ok(first.findings.length > 0);
});
