import { chooseWay } from "../../src/sensors/trace/choose.ts";
import { LiveLedger } from "../../src/sensors/trace/ledger.ts";
import type { Way } from "../../src/sensors/trace/tracer.ts";
import { contextOf } from "./real-process.ts";

/**
 * A process of its own for tests of how a ledger ends: `live-child.ts WAY` counts until it is ended and says "ready"
 * when it counts; `live-child.ts start` says as JSON how it began; `live-child.ts nobody` says as JSON which ways a user without rights is refused.
 */
const [what] = process.argv.slice(2);
if (what === "nobody") {
  // What it loads is loaded before the rights are given up: the files may not be readable after.
  await chooseWay([], { only: null, ways: [] });
  process.setgroups?.([]);
  process.setgid?.(65534);
  process.setuid?.(65534);
  const { tracer, refused } = await chooseWay([], { only: null });
  console.log(JSON.stringify({ way: tracer?.way ?? null, refused }));
} else if (what === "start") {
  const live = new LiveLedger(contextOf("/"), { workload: null });
  console.log(JSON.stringify(await live.start()));
  await live.stop();
} else {
  const ways: readonly Way[] = [what === "ebpf" ? "ebpf" : "tracefs"];
  const { way, refused } = await new LiveLedger(contextOf("/"), { workload: null, ways }).start();
  console.log(way === null ? `refused ${JSON.stringify(refused)}` : "ready");
  if (what === "throw") throw new Error("on purpose");
  process.stdin.on("end", () => process.exit()).resume();
}
