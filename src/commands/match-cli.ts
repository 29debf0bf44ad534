import { CannotMatch } from "./cannot-match.ts";
import { failureText, USAGE } from "./failure.ts";
import { type MatchCommandOptions, matchCommand } from "./match.ts";
import { printAll } from "./output.ts";
import type { PlainMatch } from "./plain-match.ts";
import { startProgress } from "./progress.ts";
import { isUtf8, terminalWidth } from "./terminal.ts";

/** Nothing could be judged. */
const NOTHING = 1;

/** `match`: reads both logs to their ends, with a line on stderr that says how far. Gives the exit code. */
export async function matchLogs(
  given: Pick<MatchCommandOptions, "mediatorLog" | "guest" | "stubLog" | "vm" | "json">,
): Promise<number> {
  const progress = startProgress(process.stderr.isTTY === true);
  try {
    const result = await matchCommand({
      ...given,
      width: Math.min(terminalWidth(120), 160),
      ascii: !isUtf8(),
      progress,
      input: () => process.stdin,
      now: Date.now,
    });
    progress.stop();
    await printAll(result.text);
    return result.exitCode;
  } catch (error) {
    if (!(error instanceof CannotMatch)) throw error;
    progress.stop();
    process.stderr.write(`vgpu-agent: ${error.message}\n`);
    return NOTHING;
  } finally {
    progress.stop();
  }
}

/** The host's log alone, as the whole program. Gives the exit code. */
export async function runMatch(given: PlainMatch): Promise<number> {
  try {
    return await matchLogs({ ...given, guest: null, stubLog: null });
  } catch (error) {
    process.stderr.write(failureText(error, false));
    return USAGE;
  }
}
