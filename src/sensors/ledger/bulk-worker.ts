import { parentPort, workerData } from "node:worker_threads";
import { runShare, type Share } from "./bulk-share.ts";

/** Counts files in a thread beside the main one; `bulk-threads.ts` starts it and gives it its share of the work. */
const share: Share = workerData;
await runShare(share, (outcome) => parentPort?.postMessage(outcome));
