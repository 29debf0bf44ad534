import { visible } from "../../report/text.ts";

/**
 * - `file`: it cannot be read, or must not be trusted.
 * - `syntax`: it is no TOML.
 * - `unknown`: a table or key that there is not.
 * - `value`: a value that the key cannot have.
 * - `more`: how many problems are left out.
 */
export type ProblemKind = "file" | "syntax" | "unknown" | "value" | "more";

export interface Position {
  /** From 1. */
  readonly line: number;
  /** From 1, in characters (code points). */
  readonly column: number;
}

/** What is wrong with the settings' file, where, and what to do. All texts are {@link visible}. */
export interface SettingsProblem {
  readonly kind: ProblemKind;
  /** Null where it is no single place. */
  readonly at: Position | null;
  /** "[observe] light_seconds" or "[observe]"; null where it is no key's. */
  readonly key: string | null;
  readonly message: string;
}

/** One line: `agent.toml:12:3: [observe] light_second: unknown key, did you mean light_seconds?` */
export function problemLine(file: string, { at, key, message }: SettingsProblem): string {
  const place = at === null ? visible(file) : `${visible(file)}:${at.line}:${at.column}`;
  return key === null ? `${place}: ${message}` : `${place}: ${key}: ${message}`;
}
