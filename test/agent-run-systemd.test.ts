import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Container, startContainer } from "./bench/container.ts";
import { ensureContainer } from "./bench/setup.ts";
import { launchLines, requestLine, startLines } from "./fixtures/guest-lines.ts";
import { must, property } from "./support/installed-agent.ts";
import { HostStoreView, saidTwice, until } from "./support/reporting-host.ts";

/** The service under a real systemd, with a workload whose stderr is in a real journald's journal. */

const skip = (await ensureContainer()) ?? false;
const VM = 11;
const PID = 4711;
const SETTLED_MS = 3300;
/** The one directory that is the same file system on this machine: SQLite locks are seen on both sides. */
const STORE = "/var/log/journal/counterpart";
const PROGRAM = "/usr/local/bin/node /opt/vgpu-agent/src/cli.ts";
const UNITS = {
  /** What is written to /run/lines is the workload's stderr. */
  "ollama.service": `[Service]
LogRateLimitIntervalSec=0
ExecStartPre=/bin/sh -c ': > /run/lines'
ExecStart=/bin/sh -c 'exec tail -n +1 -f /run/lines >&2'
`,
  "counterpart.service": `[Service]
SyslogIdentifier=counterpart
ExecStart=${PROGRAM} host --listen 127.0.0.1:8443 --data ${STORE}
`,
  "agent.service": `[Unit]
StartLimitIntervalSec=0
[Service]
SyslogIdentifier=agent
Type=notify
NotifyAccess=main
ExecStart=${PROGRAM} run --config /etc/vgpu-agent/agent.toml --state /var/lib/agent
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=0.1
WatchdogSec=6
StateDirectory=agent
StateDirectoryMode=0700
`,
};
const SETTINGS = `[observe]
light_seconds = 1
[conditions]
visible_seconds = 0
clear_seconds = 0
[spool]
directory = "/var/lib/agent/spool"
`;

describe("vgpu-agent run under systemd", { skip }, () => {
  let box: Container;
  let host: HostStoreView;
  let last = 0;
  /** When the workload began to speak, epoch milliseconds. */
  let startedAt = 0;
  const say = (lines: readonly string[]) => appendFileSync(join(box.rootDir, "run/lines"), `${lines.join("\n")}\n`);
  const all = () => Array.from({ length: last }, (_, index) => index + 1);
  /** One more call, and an answered request. */
  const call = (): void => {
    last += 1;
    say([...launchLines(PID, last), requestLine("0.2s")]);
  };
  const endWindow = async () => {
    await sleep(SETTLED_MS);
    // Only a line that somebody could match ends a window.
    say(["[cuda-transport] nothing of note"]);
  };
  const delivered = async () => await until(() => host.sequence.length >= last, `call ${last} at the host`, 40_000);
  /**
   * By the name of the stream: what journald knows of a process is up to a second old, and with systemd's debug lines it
   * is from before systemd put the process into its unit. A line of the first second is then one of init.scope.
   */
  const logged = (text: string) => box.until(`journalctl -t agent -o cat | grep -q '${text}'`);
  const isOpen = (check: string) => host.conditions.findLast((one) => one.check === check)?.state === "open";

  before(async () => {
    box = await startContainer({ devices: [], units: UNITS, files: { "/etc/vgpu-agent/agent.toml": SETTINGS } });
    await must(box, `mkdir -m 700 ${STORE}; systemctl start counterpart ollama`);
    await box.until("journalctl -t counterpart -o cat | grep -q listening", 20_000);
    await must(
      box,
      `${PROGRAM} host enroll --data ${STORE} --vm ${VM} --url https://127.0.0.1:8443 2>/dev/null | ${PROGRAM} enroll -`,
    );
    host = new HostStoreView(join(box.journalDir, "counterpart"));
    startedAt = Date.now();
    say(startLines(VM, PID));
    await must(box, "systemd-analyze log-level debug");
    await must(box, "systemctl start agent");
  });
  after(() => box[Symbol.asyncDispose]());

  /** What systemd was told by the agent, the names of the assignments in order. */
  async function told(): Promise<string> {
    const lines = await must(
      box,
      "journalctl -b -o cat _PID=1 | grep 'agent.service: Got notification message' || true",
    );
    return lines
      .split("\n")
      .map((line) =>
        [...line.matchAll(/\b(READY|STATUS|WATCHDOG|RELOADING|STOPPING)=/g)].map(([, name]) => name).join("+"),
      )
      .join(" ");
  }

  it("says that it is ready, how it is, that it lives, reads its settings again and ends, in this order", async () => {
    assert.equal(await property(box, "agent", "ActiveState"), "active");
    assert.match(await property(box, "agent", "StatusText"), /; reports to the host/);
    await must(box, "systemctl reload agent");
    await logged("read its settings again");
    await box.until("journalctl -b -o cat _PID=1 | grep 'agent.service: Got notification' | grep -q WATCHDOG", 30_000);
    const begun = performance.now();
    await must(box, "systemctl stop agent");
    assert.ok(performance.now() - begun < 2000);
    assert.equal(await property(box, "agent", "Result"), "success");
    assert.match(
      await told(),
      /^READY\+STATUS (?:(?:STATUS|WATCHDOG) )*RELOADING (?:(?:STATUS|WATCHDOG) )*READY\+STATUS (?:(?:STATUS|WATCHDOG) )*STOPPING/,
    );
    await must(box, "systemctl start agent");
  });

  it("brings windows of the journal to the host, with its boot and times", async () => {
    call();
    await endWindow();
    await delivered();
    const [window] = host.windows;
    const boot = (await must(box, "cat /proc/sys/kernel/random/boot_id")).trim().replaceAll("-", "");
    assert.equal(window?.boot_id?.replaceAll("-", ""), boot);
    const { from, to } = window?.window ?? { from: null, to: null };
    assert.ok(from !== null && to !== null && startedAt <= from && from <= to && to <= Date.now(), `${from} to ${to}`);
    assert.deepEqual([window?.vm_id, window?.gaps], [VM, []]);
  });

  it("opens a condition when the workload's unit stops, and closes it when it runs again", async () => {
    const before = host.conditions.length;
    await must(box, "systemctl stop ollama");
    // The 30 s of the device's level are not waited for: an end or a start of a process is a reason to look, every 10 s at most.
    await until(() => host.conditions.slice(before).some(({ state }) => state === "open"), "a condition opens", 20_000);
    const opened = host.conditions.slice(before).filter(({ state }) => state === "open");
    await must(box, "systemctl start ollama");
    say(startLines(VM, PID));
    const closes = ({ id }: { readonly id: string }) =>
      host.conditions.slice(before).some((one) => one.id === id && one.state === "closed");
    await until(() => opened.some(closes), `one of ${opened.map(({ id }) => id)} closes`, 20_000);
  });

  it("is killed and started again by systemd when it hangs, and loses nothing", async () => {
    const restarts = Number(await property(box, "agent", "NRestarts"));
    call();
    await must(box, "systemctl kill -s STOP --kill-whom=main agent || systemctl kill -s STOP --kill-who=main agent");
    call();
    await box.until(`test "$(systemctl show -P NRestarts agent)" -gt ${restarts}`, 30_000);
    await box.until("systemctl is-active agent", 20_000);
    assert.match(await must(box, "journalctl -b -o cat _PID=1"), /agent\.service: Watchdog timeout/);
    await endWindow();
    await delivered();
    assert.deepEqual(host.sequence, all());
  });

  it("has each call at the host once although it is killed again and again while the journal grows", async () => {
    const calls = setInterval(call, 100);
    for (let kills = 0; kills < 20; kills += 1) {
      await sleep(200 + Math.random() * 1800);
      await box.exec("systemctl kill -s KILL agent");
      if (kills % 7 === 3) await box.exec("journalctl --rotate");
    }
    clearInterval(calls);
    await box.until("systemctl is-active agent", 20_000);
    await endWindow();
    await delivered();
    assert.deepEqual(host.sequence, all());
    assert.deepEqual(
      host.windows.flatMap(({ gaps }) => gaps),
      [],
    );
    assert.deepEqual(saidTwice(host.conditions), []);
  });

  it("tells the host what was vacuumed while it was away", async () => {
    await must(box, "systemctl stop agent");
    say(["a line that nobody will read", ...Array.from({ length: 50 }, () => "[cuda-transport] lost")]);
    await box.until("journalctl --sync; test $(journalctl -u ollama -o cat | grep -c 'cuda-transport. lost') = 50");
    await must(box, "journalctl --rotate; journalctl --vacuum-files=1; logger after");
    await must(box, "systemctl start agent");
    call();
    await endWindow();
    await delivered();
    const gaps = host.windows.flatMap((one) => one.gaps);
    assert.ok(
      gaps.some((gap) => /^entries \d+ to \d+ of the journal, of any unit, were gone/.test(gap)),
      JSON.stringify(gaps),
    );
    assert.deepEqual(host.sequence, all());
  });

  it("goes on observing on a disk that is full or read-only, says so, and keeps everything when it can", async () => {
    await must(box, "systemctl stop agent; mkdir -p /run/small; mount -t tmpfs -o size=1m,mode=700 small /run/small");
    await must(box, "cp -a /var/lib/agent/. /run/small/; mount --bind /run/small /var/lib/agent");
    await must(box, "systemctl start agent; head -c 2M /dev/zero > /run/small/filler || true");
    await must(box, "systemctl stop counterpart");
    call();
    await endWindow();
    await box.until("systemctl show -P StatusText agent | grep -q 'spool: .*ENOSPC'", 60_000);
    await logged("ENOSPC.*what is seen is kept in memory alone");
    await must(box, "rm /run/small/filler; systemctl start counterpart");
    await delivered();
    await logged("the disk takes what is seen again");
    await must(box, "systemctl stop agent; mount -o remount,ro,bind /var/lib/agent; systemctl start agent");
    call();
    await endWindow();
    await delivered();
    await box.until("systemctl show -P StatusText agent | grep -q 'spool: .*EROFS'", 60_000);
    await logged("EROFS.*what is seen is kept in memory alone");
    await must(box, "mount -o remount,rw,bind /var/lib/agent");
    call();
    await endWindow();
    await delivered();
    assert.deepEqual(host.sequence, all());
    assert.equal(isOpen("observation"), false);
    await must(box, "systemctl restart agent");
    call();
    await endWindow();
    await delivered();
    assert.deepEqual(host.sequence, all());
    await must(box, "systemctl stop agent; umount /var/lib/agent");
  });
});
