import { open, readFile } from "node:fs/promises";
import { evidenceOfLogs, evidenceOfReport } from "../host/match/evidence.ts";
import type { GuestEvidence } from "../host/match/guest-evidence.ts";
import { type Report, reportSchema } from "../report/report.ts";
import { givenSources } from "../sensors/logs.ts";
import { CannotMatch, unreadable } from "./cannot-match.ts";

/** Paths of what the guest tells: one of them at most. */
export interface GivenOfGuest {
  readonly guestLog: string | null;
  readonly journal: string | null;
  readonly report: string | null;
  readonly unit: string;
}

/** A report is at most a few megabytes; more is not one. */
const LONGEST_REPORT = 64 * 1024 * 1024;

/** What the guest's logs or report tell. Throws CannotMatch for what cannot be read. */
export async function guestEvidence({ guestLog, journal, report, unit }: GivenOfGuest): Promise<GuestEvidence | null> {
  if (report !== null) return evidenceOfReport(await readReport(report));
  const given = { journal, log: guestLog, unit, since: null, until: null };
  const sources = await givenSources(given, new AbortController().signal);
  if (sources === null) return null;
  const evidence = await evidenceOfLogs(sources);
  if (evidence.window.from === null && evidence.processes.length === 0 && evidence.gaps.length > 0) {
    throw new CannotMatch(`nothing of the guest could be read: ${evidence.gaps[0]}`);
  }
  return evidence;
}

async function readReport(path: string): Promise<Report> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const { size } = await file.stat();
  await file.close();
  if (size > LONGEST_REPORT) throw new CannotMatch(`${path} is too large for a report`);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const parsed = reportSchema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CannotMatch(
    `${path} is no report of vgpu-agent doctor --json: ${issue?.path.join(".") || "document"}: ${issue?.message ?? ""}`,
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
