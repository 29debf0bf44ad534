import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NO_CONDITIONS, type ProcessKey } from "../src/agent/observe/condition-state.ts";
import { ConditionTracker } from "../src/agent/observe/conditions.ts";
import { OBSERVED_CHECKS } from "../src/agent/observe/observer.ts";
import { AgentLog } from "../src/agent/service/agent-log.ts";
import { Delivery } from "../src/agent/service/delivery.ts";
import { monotonicMs } from "../src/agent/service/monotonic.ts";
import { loadSettings } from "../src/agent/settings/load-settings.ts";
import { openIdentity } from "../src/agent/store/identity.ts";
import type { Finding } from "../src/checks/finding.ts";
import { MediatorLog } from "./fixtures/mediator-log.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { ReportingHost, until } from "./support/reporting-host.ts";
import { setUpAgent } from "./support/running-agent.ts";

/** What the agent does with a new run of the mediator, told by the counterpart as it is run. */

const VM = 11;
const SERVER: ProcessKey = { pid: 1187, startTicks: 4200 };
const BOOT = "c7a3f5de-90d1-4f6e-9a2b-1d2e3f4a5b6c";
const [BEHIND, BEFORE] = ["host-errors/VG-H06/1187@4200", "discovery/VG-O01/1187@4200"];
const root = temporaryDirectory();

const failing = (check: string, cause: "VG-H06" | "VG-O01", message: string, at: number): Finding => ({
  check,
  title: check,
  hop: null,
  outcome: "fail",
  cause,
  message,
  evidence: [{ source: "log", locator: `s=1;t=${at}`, text: message, at }],
  because: [],
  durationMs: 0,
});

/** The agent's conditions and its delivery, with findings of the test's own. */
class Guest {
  readonly delivery: Delivery;
  #tracker: ConditionTracker;
  /** When the last line was written that tells of the broken context. */
  brokenAt = 1_770_000_000_000;

  private constructor(delivery: Delivery) {
    this.delivery = delivery;
    this.#tracker = this.#track();
  }

  static async start(set: ReturnType<typeof setUpAgent>): Promise<Guest> {
    const loaded = loadSettings({ file: set.config });
    assert.ok(loaded.ok);
    const { delivery } = await Delivery.open({
      settings: loaded.settings,
      checkpointFile: join(set.state, "checkpoint.json"),
      identity: await openIdentity(join(set.state, "agent.json")),
      bootId: BOOT,
      log: new AgentLog(60, "error"),
    });
    await delivery.connect(loaded.settings, new AbortController().signal);
    return new Guest(delivery);
  }

  restart(): void {
    this.#tracker = this.#track(JSON.parse(JSON.stringify(this.#tracker.state())));
  }

  #track(state = NO_CONDITIONS): ConditionTracker {
    return new ConditionTracker({ visibleMs: 0, clearMs: 60_000, mostGapMs: 60_000, checks: OBSERVED_CHECKS }, state);
  }

  async look(): Promise<void> {
    const monotonic = monotonicMs();
    const findings = [
      failing("host-errors", "VG-H06", "the context is broken", this.brokenAt),
      failing("discovery", "VG-O01", "no GPU found", 1_770_000_000_000),
    ];
    const said = this.#tracker.observe({
      at: Date.now(),
      monotonic,
      bootId: BOOT,
      agent: { pid: process.pid, startTicks: 1 },
      findings,
      asOf: new Map(findings.map(({ check }) => [check, monotonic])),
      processes: [SERVER],
      server: SERVER,
      mediator: this.delivery.mediator,
    });
    for (const document of said)
      await this.delivery.append({ kind: "condition", at: document.at, document, position: null });
  }

  /** Sends something, as the agent does every few minutes, until the host has answered it. */
  async hearFromHost(): Promise<void> {
    const document = { schema: "vgpu-agent/condition/1", boot_id: BOOT, id: `ping ${performance.now()}` };
    const rest = { check: "observation", cause: null, outcome: "warn", state: "open", since: 1, at: 1, pid: null };
    await this.delivery.append({
      kind: "condition",
      at: Date.now(),
      document: { ...document, ...rest, ended_by: null, message: "" },
      position: null,
    });
    await until(() => this.delivery.isDelivered, "the host has it");
  }
}

describe("a new run of the mediator", () => {
  it("closes what lies behind the device at the host, once, and nothing else", async () => {
    const home = mkdtempSync(join(root, "case-"));
    const set = setUpAgent(home);
    const path = join(home, "mediator.log");
    writeFileSync(path, "");
    const mediator = new MediatorLog((text) => appendFileSync(path, text, "latin1"), { stderrOnly: false });
    mediator.start([VM]);
    const host = await ReportingHost.start(home, VM, set.enrolment, "--mediator-log", path);
    const guest = await Guest.start(set);
    const said = () =>
      host.conditions.flatMap(({ id, state, ended_by }) =>
        id.startsWith("ping") ? [] : [`${state} ${id} ${ended_by}`],
      );
    await until(async () => {
      await guest.hearFromHost();
      return guest.delivery.mediator !== null;
    }, "the host tells the mediator's run");
    const first = guest.delivery.mediator ?? assert.fail();
    await guest.look();
    await guest.hearFromHost();
    const opened = [`open ${BEHIND} null`, `open ${BEFORE} null`];
    assert.deepEqual(said(), opened);

    // Neither a restart of the host nor of the agent is one of the mediator.
    await host.down();
    await host.up();
    guest.restart();
    await until(async () => {
      await guest.hearFromHost();
      await guest.look();
      return guest.delivery.mediator?.series === first.series;
    }, "the host tells the run again");
    await guest.hearFromHost();
    assert.deepEqual([guest.delivery.mediator?.run, ...said()], [first.run, ...opened]);

    // Longer than the mediator may keep its first lines in its buffer.
    await sleep(3000);
    mediator.start([VM]);
    await until(async () => {
      await guest.hearFromHost();
      await guest.look();
      return guest.delivery.mediator?.run === first.run + 1;
    }, "the host tells the new run");
    await guest.look();
    await guest.hearFromHost();
    assert.deepEqual(said(), [...opened, `closed ${BEHIND} mediator-restarted`]);

    // The new one's own, in the same words.
    guest.brokenAt += 60_000;
    await guest.look();
    await guest.look();
    await guest.hearFromHost();
    assert.deepEqual(said(), [...opened, `closed ${BEHIND} mediator-restarted`, `open ${BEHIND} null`]);
    await guest.delivery.close();
    await host.down();
  });
});
