/** Runs inside the bench's container: prints what the counterpart's store has. Usage: `reported.ts DATABASE`. */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import type { Reported } from "./truth.ts";

const evidence = z.object({
  gaps: z.array(z.string()),
  processes: z.array(z.object({ calls: z.array(z.object({ call_id: z.number(), count: z.number() })) })),
  requests: z.array(z.unknown()),
});
const rowSchema = z.object({ kind: z.string(), document: z.string() });

const database = new DatabaseSync(process.argv[2] ?? "host.db", { readOnly: true });
const entries: Record<string, number> = {};
const calls: Record<string, number> = {};
const gaps = new Set<string>();
let requests = 0;
let documentBytes = 0;
for (const row of database.prepare("SELECT kind, document FROM reports ORDER BY id").iterate()) {
  const { kind, document } = rowSchema.parse(row);
  entries[kind] = (entries[kind] ?? 0) + 1;
  if (kind !== "guest-evidence") continue;
  documentBytes += document.length;
  const window = evidence.parse(JSON.parse(document));
  requests += window.requests.length;
  for (const gap of window.gaps) gaps.add(gap);
  for (const one of window.processes.flatMap((process) => process.calls))
    calls[one.call_id] = (calls[one.call_id] ?? 0) + one.count;
}
const reported: Reported = { entries, calls, requests, gaps: [...gaps], documentBytes };
console.log(JSON.stringify(reported));
