import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { reportSchema } from "../src/report/report.ts";
import { type Container, startContainer } from "./bench/container.ts";
import { builtPackage, NEXT_LINE, NEXT_VERSION } from "./bench/package.ts";
import { ensureContainer } from "./bench/setup.ts";
import {
  agentSaid,
  DEVICES,
  differences,
  enrol,
  everything,
  FILES,
  inStore,
  must,
  property,
  reportInStore,
  takeCheckoutAway,
  UNITS,
} from "./support/installed-agent.ts";
import { compileLibrary } from "./support/real-process.ts";
import { openDirectory } from "./support/static-launcher.ts";
import { NO_UPROBES } from "./support/tracing.ts";

const skip = (await ensureContainer()) ?? false;
/** With this preloaded no program that is linked dynamically starts. */
const BREAKS_ALL = "#include <unistd.h>\n__attribute__((constructor)) static void end(void) { _exit(101); }\n";
const BREAKER = "/opt/breaker.so";
/** CAP_DAC_READ_SEARCH is bit 2, CAP_SYS_PTRACE bit 19. */
const CAPABILITIES = (1n << 2n) | (1n << 19n);
/** The limit for `systemd-analyze security`. */
const MOST_EXPOSED = 2.5;
const EXPOSURE = /Overall exposure level for \S+: ([\d.]+)/;
/** Reads like "connected; no condition open; …". */
const STATUS = /^(?:no verdict yet|[a-z]+(?: \([a-z ]+\))?); (?:no|\d+) conditions? open; /;
/** Until the next boot a system call that the units forbid ends the program, instead of being refused with EPERM. */
const KILLS = `for unit in vgpu-agent vgpu-agent-host; do mkdir -p /run/systemd/system/$unit.service.d
  printf '[Service]\\nSystemCallErrorNumber=kill\\n' >/run/systemd/system/$unit.service.d/kill.conf; done`;
const MAKES_IT_QUICK =
  "sed -i 's/^#light_seconds = .*/light_seconds = 1/; s/^#visible_seconds = .*/visible_seconds = 0/' /etc/vgpu-agent/agent.toml";

describe("the .deb on a machine with systemd", { skip }, () => {
  let box: Container;
  let untouched: ReadonlySet<string>;
  const dpkg = (command: string) => must(box, `export DEBIAN_FRONTEND=noninteractive; dpkg ${command} 2>&1 </dev/null`);
  const agentId = async () =>
    (await must(box, "cat /var/lib/vgpu-agent/agent.json")).match(/"agent_id":"([^"]+)"/)?.[1];

  before(async () => {
    const { deb, nextDeb } = await builtPackage();
    const files = {
      ...FILES,
      "/opt/agent.deb": { from: deb },
      "/opt/next.deb": { from: nextDeb },
      [BREAKER]: { from: compileLibrary(openDirectory(), "breaker.so", BREAKS_ALL), mode: 0o755 },
    };
    box = await startContainer({ devices: DEVICES, units: UNITS, files });
    await takeCheckoutAway(box);
    await must(box, "systemctl start ollama.service");
    await box.until("journalctl -u ollama | grep -q 'llama runner started'");
    untouched = await everything(box);
    await must(box, KILLS);
    await dpkg("-i /opt/agent.deb");
  });
  after(() => box[Symbol.asyncDispose]());

  it("makes its users and starts the agent, which says what it sees to systemd", async () => {
    assert.match(await must(box, "getent passwd vgpu-agent vgpu-host"), /^(?:vgpu-.*:\/usr\/sbin\/nologin\n){2}$/);
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.equal(await property(box, "vgpu-agent", "UnitFileState"), "enabled");
    assert.match(await property(box, "vgpu-agent", "StatusText"), STATUS);
    assert.match(await property(box, "vgpu-agent", "StatusText"), /; not reporting \(.*no enrolment/);
    assert.match(await must(box, "systemctl status --no-pager vgpu-agent"), /^ +Status: "/m);
    assert.equal((await box.exec("systemctl is-active vgpu-agent-host")).stdout, "inactive\n");
    assert.equal((await box.exec("systemctl is-enabled vgpu-agent-host")).stdout, "disabled\n");
    assert.equal(await must(box, "stat -c '%a %U:%G' /var/lib/vgpu-agent"), "700 vgpu-agent:vgpu-agent\n");
    assert.equal(await must(box, "find /var/lib/vgpu-agent -perm /077"), "");
  });

  it("has the two capabilities that the unit names and no more", async () => {
    const pid = await property(box, "vgpu-agent", "MainPID");
    const status = await must(box, `cat /proc/${pid}/status`);
    for (const name of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      const held = new RegExp(`^${name}:\t([0-9a-f]+)$`, "m").exec(status)?.[1];
      assert.equal(BigInt(`0x${held}`), CAPABILITIES, name);
    }
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
  });

  it("is exposed at most 2.5, and so is the host's service", async () => {
    for (const unit of ["vgpu-agent.service", "vgpu-agent-host.service"]) {
      const score = EXPOSURE.exec(await must(box, `systemd-analyze security --no-pager ${unit}`))?.[1];
      assert.ok(Number(score) <= MOST_EXPOSED, `${unit}: ${score}`);
    }
    assert.equal(
      await must(box, "systemd-analyze verify --man=no vgpu-agent.service vgpu-agent-host.service 2>&1"),
      "",
    );
  });

  it("reports to a host that it is enrolled with, after a reload", async () => {
    await enrol(box);
    assert.equal(await must(box, "stat -c '%a %U' /etc/vgpu-agent/enrolment"), "600 root\n");
    assert.equal((await reportInStore(box)).subject.hostname, "vgpu-bench");
    await box.until("systemctl show -P StatusText vgpu-agent | grep -q 'reports to the host'", 20_000);
    assert.equal(await property(box, "vgpu-agent", "NRestarts"), "0", "it was reloaded");
  });

  it("sees in its sandbox all that root's doctor sees outside of it", async () => {
    const doctor = await box.exec("vgpu-agent doctor --json --no-host");
    const outside = reportSchema.parse(JSON.parse(doctor.stdout));
    assert.equal(outside.verdict.rung, "connected");
    // Its first report may be from before it has read everything once.
    const inside = await reportInStore(box, ({ verdict }) => verdict.rung === outside.verdict.rung);
    const judged = ({ findings }: typeof inside) =>
      Object.fromEntries(findings.map(({ check, outcome, cause }) => [check, `${outcome} ${cause ?? ""}`]));
    assert.deepEqual(judged(inside), judged(outside));
    const states = ({ sources }: typeof inside) => Object.fromEntries(sources.map(({ name, state }) => [name, state]));
    assert.deepEqual(states(inside), states(outside));
    for (const unit of ["vgpu-agent", "vgpu-agent-host"]) {
      assert.equal(await property(box, unit, "SystemCallErrorNumber"), "2147483646", "KILL in systemd's numbers");
      assert.equal(await property(box, unit, "NRestarts"), "0", await agentSaid(box));
    }
  });

  it("lets log-scan lock itself in, and read what only root may", async () => {
    const scan = "/usr/lib/vgpu-agent/log-scan/prebuilt/linux-*/vgpu-log-scan text --lines all --file 3";
    await must(
      box,
      `seq 5000 >/var/log/secret.log; chmod 600 /var/log/secret.log
      sed '/^Type=/,/^WatchdogSec=/d; /^StateDirectory/d; /^\\[Service\\]/r /dev/stdin' \
        /usr/lib/systemd/system/vgpu-agent.service >/run/systemd/system/scan.service <<'END'
Type=oneshot
ExecStart=/bin/sh -c "exec 3</var/log/secret.log; exec ${scan} $(stat -c %%s /var/log/secret.log) 0"
StandardOutput=file:/run/said
END
      systemctl daemon-reload; systemctl start scan.service`,
    );
    // The last record of log-scan's output: it came to its end.
    assert.equal(await must(box, "tail -c 8 /run/said | od -An -c | tr -d ' \\n'"), "Z\\0\\0\\0\\0\\0\\0\\0");
    await must(box, "rm /var/log/secret.log");
  });

  it("keeps edits, enrolment, id and spool over an upgrade, and restarts only what ran", async () => {
    const id = await agentId();
    await must(box, `${MAKES_IT_QUICK}; vgpu-agent config check && systemctl reload vgpu-agent`);
    const edited = await must(box, "cat /etc/vgpu-agent/agent.toml");
    assert.match(edited, /^light_seconds = 1$/m);
    await must(box, "systemctl stop vgpu-agent-host ollama");
    await box.until("systemctl show -P StatusText vgpu-agent | grep -qE 'host is away.* kept'", 30_000);
    const pid = await property(box, "vgpu-agent", "MainPID");
    await dpkg("--force-confold -i /opt/next.deb");
    assert.equal(await must(box, "vgpu-agent --version"), `${NEXT_VERSION}\n`);
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.notEqual(await property(box, "vgpu-agent", "MainPID"), pid);
    assert.equal(await property(box, "vgpu-agent-host", "ActiveState"), "inactive");
    assert.equal(await must(box, "cat /etc/vgpu-agent/agent.toml"), edited);
    assert.match(await must(box, "cat /etc/vgpu-agent/agent.toml.dpkg-dist"), new RegExp(`${NEXT_LINE}\n$`));
    assert.equal(await agentId(), id);
    await must(box, "systemctl start vgpu-agent-host ollama");
    await box.until("systemctl show -P StatusText vgpu-agent | grep -qE 'reports to the host$'", 40_000);
    const rows = await inStore(box);
    assert.deepEqual(new Set(rows.map(({ agent_id }) => agent_id)), new Set([id]));
    assert.deepEqual(
      rows.map(({ seq }) => seq).sort((a, b) => a - b),
      rows.map((_, index) => index + 1),
      "each once",
    );
    assert.ok(
      rows.some(({ kind }) => kind === "condition"),
      "the workload's end, seen while the host was away",
    );
  });

  it("goes on after a power cut as the same agent", async () => {
    const [id, rows] = [await agentId(), await inStore(box)];
    await must(box, "systemctl enable vgpu-agent-host ollama 2>&1; sync");
    await box.stop();
    await box.start();
    await must(box, "umount -l /opt/vgpu-agent");
    await box.until("systemctl is-active vgpu-agent vgpu-agent-host", 20_000);
    await box.until("systemctl show -P StatusText vgpu-agent | grep -q 'reports to the host$'", 30_000);
    assert.equal(await agentId(), id);
    const afterwards = await inStore(box);
    assert.deepEqual(afterwards.slice(0, rows.length), rows);
    assert.deepEqual(new Set(afterwards.map(({ agent_id }) => agent_id)), new Set([id]));
  });

  it("starts although /etc/ld.so.preload breaks every program that is linked dynamically", async () => {
    const pid = await property(box, "vgpu-agent", "MainPID");
    const group = `/sys/fs/cgroup${await property(box, "vgpu-agent", "ControlGroup")}`;
    // The shell was loaded before; until the file is empty again it uses nothing but itself. It waits for the restart
    // to be past the launcher (whose name, as systemd's own before it, is not Node's), then long enough for a loader.
    const script = `test -r ${group}/cgroup.procs || exit 3; mkfifo /run/pause; exec 9<>/run/pause
      echo ${BREAKER} >/etc/ld.so.preload
      if (/bin/true); then echo harmless; fi
      kill -KILL ${pid}; started=
      for turn in {1..300}; do
        read -rt 0.1 -u 9 _; main=; name=
        read -r main <${group}/cgroup.procs && read -r name </proc/$main/comm
        case $main:$name in ${pid}:* | *: | *:\\(* | *:vgpu-*) ;; *) started=1; break ;; esac
      done
      read -rt 2 -u 9 _; : >/etc/ld.so.preload; echo "started=$started"`;
    assert.equal(await must(box, `{ ${script}; } 2>/dev/null`), "started=1\n");
    await box.until("systemctl is-active vgpu-agent", 30_000);
    assert.equal(await property(box, "vgpu-agent", "NRestarts"), "1", await agentSaid(box));
    await must(box, "rm /etc/ld.so.preload /run/pause");
  });

  it("completes commands, subcommands and options in bash", async () => {
    const words = async (...line: string[]) => {
      const array = line.map((word) => `'${word}'`).join(" ");
      const script = `. /usr/share/bash-completion/completions/vgpu-agent
        complete -p vgpu-agent >&2; COMP_WORDS=(${array}); COMP_CWORD=${line.length - 1}
        $(complete -p vgpu-agent | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = await box.exec(script);
      assert.match(stderr, /^complete .*-F \S+ vgpu-agent$/m);
      return stdout.trim().split("\n");
    };
    const commands = await words("vgpu-agent", "");
    for (const name of ["doctor", "calls", "match", "enroll", "run", "config", "host"])
      assert.ok(commands.includes(name), `${name} in ${commands}`);
    assert.deepEqual(await words("vgpu-agent", "doc"), ["doctor"]);
    const host = await words("vgpu-agent", "host", "");
    for (const name of ["enroll", "tokens", "revoke", "status"]) assert.ok(host.includes(name), `${name} in ${host}`);
    assert.ok((await words("vgpu-agent", "doctor", "--js")).includes("--json"));
  });

  it("counts calls in the kernel when the settings and the drop-in allow it", { skip: NO_UPROBES }, async () => {
    const directory = "/etc/systemd/system/vgpu-agent.service.d";
    await must(box, `mkdir ${directory} && cp /usr/lib/vgpu-agent/live.conf ${directory} && systemctl daemon-reload`);
    await must(box, `sed -i 's/^#live = .*/live = "on"/' /etc/vgpu-agent/agent.toml; systemctl restart vgpu-agent`);
    const said = await must(box, 'journalctl --sync; journalctl -o cat _PID="$(systemctl show -P MainPID vgpu-agent)"');
    assert.match(said, /"the kernel counts the workload's calls"/);
  });

  it("stops when it is removed, and a purge leaves nothing of it behind", async () => {
    await must(box, "systemctl stop ollama");
    await dpkg("-r vgpu-agent");
    assert.equal((await box.exec("pgrep -u vgpu-agent,vgpu-host")).stdout, "");
    assert.equal((await box.exec("systemctl cat vgpu-agent.service")).exitCode, 1);
    await must(box, "test -s /etc/vgpu-agent/enrolment && test -s /var/lib/vgpu-agent/agent.json");
    // Installed anew it starts, and knows what it knew.
    await dpkg("--force-confold -i /opt/next.deb");
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.match(await property(box, "vgpu-agent", "StatusText"), /the host is away|reports to the host/);
    await dpkg("-P vgpu-agent");
    await must(box, "systemctl disable --quiet ollama");
    assert.deepEqual(differences(untouched, await everything(box)), []);
  });
});
