import { bytesOf, RANGE_NOTE, rangeOf } from "./quantities.ts";
import type { Report } from "./report.ts";

type HostMatch = NonNullable<Report["host_match"]>;
type Side = HostMatch["operations"][number]["guest"];

const NAMES = { alloc: "allocate", "copy-in": "copy in", launch: "launch", "copy-out": "copy out" } as const;
const WHOLE = { full: "whole", partial: "not whole", none: "not there" } as const;
const BOXES = { proven: "[x]", refuted: "[ ]", "not known": "[?]" } as const;

/** Guest and host side by side, as people read it. */
export interface HostMatchText {
  readonly head: string;
  /** First the names of the columns, then a row an operation: operation, guest, host, confidence. */
  readonly rows: readonly (readonly [string, string, string, string])[];
  readonly criteria: readonly { readonly box: string; readonly text: string; readonly refuted: boolean }[];
}

/** Null where nothing was compared. */
export function hostMatchText({ host_match }: Report): HostMatchText | null {
  if (host_match === null) return null;
  const hasRange = host_match.operations.some(({ host }) => (host?.least ?? null) !== null);
  return {
    head: `Guest and host, side by side; the record of this VM in ${whose(host_match)} is ${WHOLE[host_match.coverage]}${hasRange ? `. ${RANGE_NOTE}` : ""}`,
    rows: [
      ["operation", "guest", "host", "match"],
      ...host_match.operations.map(
        ({ operation, guest, host, confidence }) =>
          [NAMES[operation], sideText(guest), sideText(host), confidence] as const,
      ),
    ],
    criteria: host_match.criteria.map(({ text, answer, reason }) => ({
      box: BOXES[answer],
      text: `${text}: ${answer}, ${reason}`,
      refuted: answer === "refuted",
    })),
  };
}

/** Whose word the host's side is. */
const whose = ({ source: { kind, name } }: HostMatch): string => (kind === "host" ? `the host's log (${name})` : name);

function sideText(side: Side): string {
  if (side === null) return "cannot tell";
  const least = side.least ?? side;
  const bytes = side.bytes === null || side.bytes === 0 ? "" : ` (${rangeOf(least.bytes ?? 0, side.bytes, bytesOf)})`;
  const failed = side.failed === null || side.failed === 0 ? "" : `, ${rangeOf(least.failed ?? 0, side.failed)} failed`;
  return `${rangeOf(least.count, side.count)}${bytes}${failed}`;
}
