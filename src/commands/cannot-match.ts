/** What was given cannot be matched: the text says what to give instead. */
export class CannotMatch extends Error {}

export function unreadable(path: string, error: unknown): CannotMatch {
  return new CannotMatch(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
}
