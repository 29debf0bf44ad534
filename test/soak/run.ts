/** `node test/soak/run.ts [KILLS]`: the soak at any length. Exit 1 when anything was lost, doubled or not accounted for. */
import { killSoak } from "./kill-soak.ts";

const kills = Number(process.argv[2] ?? 1000);
const result = await killSoak({ kills, killsPerBoot: 25, onProgress: (text) => console.error(text) });
console.log(JSON.stringify({ ...result, lost: result.lost.length, doubled: result.doubled.length }, null, 2));
const isWell = result.lost.length + result.doubled.length + result.holes.length + result.dropped.length === 0;
process.exitCode = isWell ? 0 : 1;
