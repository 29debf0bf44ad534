import { UsageError } from "./usage.ts";

/** What every command that judges or counts takes: which subject, and which part of its log. */
export const SUBJECT = {
  unit: { type: "string", default: "ollama.service", describe: "systemd unit of the workload" },
  pid: { type: "number", describe: "this process instead of the unit's" },
  since: { type: "string", describe: "read the log from here: 10m, 2h, or a time" },
  until: { type: "string", describe: "read the log up to here" },
  root: { type: "string", describe: "a captured file-system root instead of this machine" },
  journal: {
    type: "string",
    describe: "journal file, directory of journal files, or journal export",
  },
  log: {
    type: "string",
    describe: "file with the workload's stderr, when it is not in the journal",
  },
} as const;

/** "ollama" means ollama.service, as with systemctl. Anything that is no unit name would end up in commands. */
export function unitName(text: string): string {
  const name = /\.[a-z]+$/.test(text) ? text : `${text}.service`;
  if (!/^[\w:.@\\-]{1,255}$/.test(name) || /^[-.]/.test(name))
    throw new UsageError(`--unit ${text === "" ? '""' : text}: not a unit's name`);
  return name;
}
