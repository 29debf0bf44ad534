import { execFile } from "node:child_process";
import { errnoOf, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { Credentials, UnitFacts } from "../facts/workload.ts";
import { filterAssignments } from "../protocol/environment.ts";
import { keepableCommand } from "../protocol/process-shapes.ts";
import type { SensorContext } from "./context.ts";
import { lookupUser, startCapabilities } from "./credentials.ts";
import { attempt, outsideEvidence } from "./scope.ts";
import {
  applyUnitText,
  parseExecProperty,
  parseShow,
  parseTimestamp,
  single,
  splitQuoted,
  type UnitSettings,
  withoutSpecifiers,
} from "./unit-text.ts";

/** Where systemd looks for units, most important first (systemd.unit(5)). */
const UNIT_DIRECTORIES = [
  "/etc/systemd/system.control",
  "/run/systemd/system.control",
  "/run/systemd/transient",
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
] as const;

/** Settings that can come between the workload and the device, the log or /tmp. */
const SANDBOX = [
  "PrivateTmp",
  "PrivateDevices",
  "ProtectKernelTunables",
  "ProtectSystem",
  "ProtectHome",
  "ReadWritePaths",
  "ReadOnlyPaths",
  "InaccessiblePaths",
  "DevicePolicy",
  "DeviceAllow",
  "DynamicUser",
  "NoNewPrivileges",
  "LimitMEMLOCK",
  "AmbientCapabilities",
  "CapabilityBoundingSet",
] as const;

const PROPERTIES = [
  "LoadState",
  "ActiveState",
  "SubState",
  "Result",
  "ExecMainCode",
  "ExecMainStatus",
  "MainPID",
  "NRestarts",
  "NeedDaemonReload",
  "User",
  "Group",
  "SupplementaryGroups",
  "ExecStart",
  "StandardError",
  "StandardOutput",
  "Environment",
  "ActiveEnterTimestamp",
  "InvocationID",
  ...SANDBOX,
];

/** ExecMainCode as systemctl prints it: the si_code of SIGCHLD (sigaction(2)). */
const EXIT_CODES: Readonly<Record<string, string>> = { "1": "exited", "2": "killed", "3": "dumped" };

const MANAGER_LIMIT_MS = 2000;
const MAX_OUTPUT = 1 << 20;
const MAX_UNIT_FILE = 1 << 20;
const MAX_DROP_INS = 256;
const UNIT_NAME = /^[\w:.@\\-]{1,255}$/;

/** The unit of the workload: from its manager where that runs, else from the unit's files below the root. */
export async function readUnit(context: SensorContext): Promise<Reading<UnitFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const { unit } = context.scope;
  if (!UNIT_NAME.test(unit)) return notRead("invalid", `"${unit}" is not the name of a unit`);
  const managed = context.fs.live && (await context.fs.exists("/run/systemd/system"));
  if (!managed) return await readFromFiles(context, unit, "");
  const shown = await askManager(unit, context.signal);
  if (typeof shown !== "string") return await readFromFiles(context, unit, `; ${shown.trouble}`);
  return await unitFromShow(context, unit, shown);
}

interface Trouble {
  readonly trouble: string;
}

/** One short-lived child with an environment of its own: a loader variable of ours must not reach it. */
function askManager(unit: string, signal: AbortSignal): Promise<string | Trouble> {
  const options = {
    env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C", TZ: "UTC", SYSTEMD_PAGER: "", SYSTEMD_COLORS: "0" },
    timeout: MANAGER_LIMIT_MS,
    killSignal: "SIGKILL",
    maxBuffer: MAX_OUTPUT,
    signal,
  } as const;
  return new Promise((resolve) => {
    execFile("systemctl", ["show", unit, "-p", PROPERTIES.join(",")], options, (error, stdout) => {
      if (error === null) resolve(stdout);
      else
        resolve({
          trouble: `systemctl did not answer (${error.killed === true ? "time limit" : (errnoOf(error) ?? "failed")})`,
        });
    });
  });
}

/** The facts in the output of `systemctl show`. Exported for tests with output of real systems. */
export async function unitFromShow(context: SensorContext, unit: string, output: string): Promise<Reading<UnitFacts>> {
  const properties = parseShow(output);
  if (!properties.has("LoadState")) return await readFromFiles(context, unit, "; systemctl printed no LoadState");
  if (properties.get("LoadState") === "not-found") {
    return notRead("absent", `systemd knows no ${unit} (LoadState=not-found)`);
  }
  const text = (name: string) => properties.get(name) || null;
  const number = (name: string) => (/^\d+$/.test(properties.get(name) ?? "") ? Number(properties.get(name)) : null);
  const command = parseExecProperty(properties.get("ExecStart"));
  const code = properties.get("ExecMainCode") ?? "";
  const reload = properties.get("NeedDaemonReload");
  const sandbox = Object.fromEntries(
    SANDBOX.map((key) => [key, properties.get(key) ?? ""]).filter(([, value]) => value !== ""),
  );
  return wasRead(
    {
      name: unit,
      source: "systemctl",
      loadState: text("LoadState"),
      activeState: text("ActiveState"),
      subState: text("SubState"),
      result: text("Result"),
      execMainCode: EXIT_CODES[code] ?? null,
      execMainStatus: EXIT_CODES[code] === undefined ? null : number("ExecMainStatus"),
      mainPid: number("MainPID") || null,
      nRestarts: number("NRestarts"),
      needDaemonReload: reload === "yes" ? true : reload === "no" ? false : null,
      user: text("User"),
      userCredentials: await credentials(context, text("User"), text("Group"), text("SupplementaryGroups"), sandbox),
      execStart: command === null ? null : keepableCommand(command),
      standardError: text("StandardError"),
      standardOutput: text("StandardOutput"),
      environment: filterAssignments(splitQuoted(properties.get("Environment") ?? "")),
      sandbox,
      activeEnterAt: parseTimestamp(properties.get("ActiveEnterTimestamp")),
      invocationId: text("InvocationID"),
    },
    "systemctl show",
  );
}

async function readFromFiles(context: SensorContext, unit: string, remark: string): Promise<Reading<UnitFacts>> {
  const found = await attempt(unit, () => findFragment(context, unit));
  if (found.state !== "read") return found;
  const fragment = found.value;
  const searched = UNIT_DIRECTORIES.join(", ");
  if (fragment === null) return notRead("absent", `no ${unit} in ${searched}${remark}`);
  let settings: UnitSettings = new Map();
  let files = 0;
  const additions = await dropIns(context, unit);
  for (const path of [...(fragment.masked ? [] : [fragment.path]), ...additions.paths]) {
    const text = await attempt(path, async () => (await context.fs.read(path, MAX_UNIT_FILE)).bytes.toString("utf8"));
    if (text.state === "absent") continue;
    if (text.state !== "read") return text;
    settings = applyUnitText(settings, text.value);
    files += 1;
  }
  const list = (key: string) => (settings.get(key) ?? []).join(" ") || null;
  const sandbox = Object.fromEntries(
    SANDBOX.flatMap((key) => {
      const value = list(key);
      return value === null ? [] : [[key, value]];
    }),
  );
  const assignments = (settings.get("Environment") ?? []).flatMap((value) => splitQuoted(withoutSpecifiers(value)));
  const command = settings.get("ExecStart")?.[0];
  return wasRead(
    {
      name: unit,
      source: "files",
      loadState: fragment.masked ? "masked" : "loaded",
      activeState: null,
      subState: null,
      result: null,
      execMainCode: null,
      execMainStatus: null,
      mainPid: null,
      nRestarts: null,
      needDaemonReload: null,
      user: single(settings, "User"),
      userCredentials: await credentials(
        context,
        single(settings, "User"),
        single(settings, "Group"),
        list("SupplementaryGroups"),
        sandbox,
      ),
      execStart: command === undefined ? null : keepableCommand(splitQuoted(command.replace(/^[-@:+!]+/, ""))),
      standardError: single(settings, "StandardError"),
      standardOutput: single(settings, "StandardOutput"),
      // The last assignment of a name wins in a unit, the first in an environment.
      environment: filterAssignments(assignments.toReversed()),
      sandbox,
      activeEnterAt: null,
      invocationId: null,
    },
    `${files} unit files${additions.trouble}${remark}`,
  );
}

/** The unit's own file: the first that exists; rejects when a place for it may not be looked at. An empty file or a link to /dev/null masks the unit. */
async function findFragment(
  context: SensorContext,
  unit: string,
): Promise<{ readonly path: string; readonly masked: boolean } | null> {
  const template = unit.replace(/@[^.]*/, "@");
  for (const name of new Set([unit, template])) {
    for (const directory of UNIT_DIRECTORIES) {
      const path = `${directory}/${name}`;
      if ((await context.fs.readlink(path).catch(() => "")) === "/dev/null") return { path, masked: true };
      const meta = await context.fs.stat(path).catch((error: unknown) => {
        if (notReadFromError(error, path).state === "absent") return null;
        throw error;
      });
      if (meta?.isFile === true) return { path, masked: meta.size === 0 };
    }
  }
  return null;
}

/** Drop-ins in the order in which they apply: by file name, whatever their directory; the first of a name hides others. */
async function dropIns(
  context: SensorContext,
  unit: string,
): Promise<{ readonly paths: readonly string[]; readonly trouble: string }> {
  const type = unit.slice(unit.lastIndexOf(".") + 1);
  const owners = new Set([unit, unit.replace(/@[^.]*/, "@"), type]);
  const found = new Map<string, string>();
  let trouble = "";
  for (const owner of owners) {
    for (const directory of UNIT_DIRECTORIES) {
      const path = `${directory}/${owner}.d`;
      const listed = await attempt(path, () => context.fs.list(path));
      if (listed.state !== "read") {
        if (listed.state !== "absent") trouble += `; ${listed.detail}`;
        continue;
      }
      for (const name of listed.value) {
        if (name.endsWith(".conf") && !found.has(name)) found.set(name, `${path}/${name}`);
      }
    }
  }
  const names = [...found.keys()].sort((a, b) => (a < b ? -1 : 1)).slice(0, MAX_DROP_INS);
  return { paths: names.map((name) => found.get(name) ?? ""), trouble };
}

/** What the unit's process starts with. Null when its user is made at start or is not in /etc/passwd. */
async function credentials(
  context: SensorContext,
  user: string | null,
  group: string | null,
  extra: string | null,
  sandbox: Readonly<Record<string, string>>,
): Promise<Credentials | null> {
  if (["yes", "true", "1", "on"].includes(sandbox["DynamicUser"] ?? "")) return null;
  const found = await lookupUser(context.fs, user ?? "0", extra?.split(/\s+/) ?? [], group);
  const account = found ?? (user === null ? { uid: 0, gid: 0, groups: [0], capEff: "" } : null);
  if (account === null) return null;
  const ambient = sandbox["AmbientCapabilities"] ?? null;
  const bounding = sandbox["CapabilityBoundingSet"] ?? null;
  return { ...account, capEff: startCapabilities(account.uid, ambient, bounding) };
}
