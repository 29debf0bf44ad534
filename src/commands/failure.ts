/** Exit code of a command line that cannot be meant, and of a bug. */
export const USAGE = 2;

/** What the program says of an error that stops it: mistakes of the caller are one line, anything else is a bug of ours. */
export function failureText(error: unknown, isExpected: boolean): string {
  const text = error instanceof Error ? error.message : String(error);
  const bug = `a bug in vgpu-agent, please report it: ${error instanceof Error ? error.stack : text}`;
  return `vgpu-agent: ${isExpected ? text : bug}\n`;
}
