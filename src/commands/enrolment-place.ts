import { lstatSync } from "node:fs";
import { ENROLMENT_FILE } from "../agent/settings/enrolment-path.ts";
import { type NotRead, notRead } from "../facts/reading.ts";

/** As in agent/settings/settings.ts, which is loaded where there is such a file. */
const SETTINGS_FILE = "/etc/vgpu-agent/agent.toml";

export interface EnrolmentPlace {
  readonly path: string;
  /** FILE:LINE of the settings that say `host.enabled = false`; null: none does. */
  readonly offAt: string | null;
}

/**
 * Where this VM's enrolment is: `host.enrolment` of the settings, which the service goes by too. `config` names another
 * file than the installed one, which has to be there. Otherwise why it is not known: settings that are wrong say nothing.
 */
export async function enrolmentPlace(config: string | null): Promise<EnrolmentPlace | NotRead> {
  if (config === null && !mayBeThere(SETTINGS_FILE)) return { path: ENROLMENT_FILE, offAt: null };
  const { loadSettings } = await import("../agent/settings/load-settings.ts");
  const loaded = loadSettings(config === null ? {} : { file: config });
  if (loaded.ok) {
    const { enabled, enrolment } = loaded.settings.host;
    const line = loaded.origins.get("host.enabled")?.line ?? 0;
    return { path: enrolment, offAt: enabled ? null : `${loaded.file}:${line}` };
  }
  const { problemLine } = await import("../agent/settings/problem.ts");
  const [first, ...others] = loaded.problems;
  const what = first === undefined ? loaded.file : problemLine(loaded.file, first);
  const more = others.length === 0 ? "" : ` (and ${others.length} more: vgpu-agent config check)`;
  return notRead(
    "invalid",
    `${what}${more}. So where the enrolment is is not known; --enrolment ${ENROLMENT_FILE} names it`,
  );
}

/** False only where there certainly is nothing. */
export function mayBeThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}
