import { UsageError } from "./usage.ts";

/* What holds for every option of every command: a value that is not empty, once. */

/** bash asks with the words as they are typed: one that is begun is empty. */
const COMPLETION = "--get-yargs-completions";
const OPTION = /^(--[^=\s]+)(=?)$/;
const NAME = /^--([^=\s]+)$/;
const CAPITAL = /[A-Z]/g;
/** What follows an option without being its value: another option; no number. */
const NO_VALUE = /^-(?!$|\.?\d)/;

/**
 * Throws UsageError for a word without characters: a variable that was not set, which would else pass for the current
 * directory, for 0, or for an option that was not given.
 */
export function assertNoneEmpty(words: readonly string[]): void {
  if (words.includes(COMPLETION)) return;
  for (const [index, word] of words.entries()) {
    const option = word === "" ? words[index - 1] : word;
    const [, name, sign] = OPTION.exec(option ?? "") ?? [];
    if (name !== undefined && (sign === "=") !== (word === "")) throw new UsageError(`${name} "": the value is empty`);
    if (word === "") throw new UsageError('"": the argument is empty');
  }
}

/**
 * Throws UsageError for an option whose value was forgotten, which would else pass for one that was not given; for one that
 * was given more than once, and for one that cannot be negated. `values` are by option, as yargs read `words`; `declared`
 * is what it was told of the options.
 */
export function assertGivenOnce(
  words: readonly string[],
  values: Readonly<Record<string, unknown>>,
  declared: Readonly<Record<string, unknown>>,
): void {
  const [flags, lists] = [namesIn(declared["boolean"]), namesIn(declared["array"])];
  const names = Object.keys(declared["key"] ?? {});
  const takesValue = new Set(names.filter((name) => !flags.has(name) && !isNegation(name, names)));
  assertNoneForgotten(words, takesValue);
  for (const name of takesValue) {
    const value = values[name];
    if (Array.isArray(value) && !lists.has(name)) {
      throw new UsageError(`--${name} was given ${value.length} times: give it once`);
    }
    if (value === false && !names.includes(`no-${name}`)) throw new UsageError(`Unknown argument: no-${name}`);
    // As a lone "-" comes.
    if (value === "") throw new UsageError(`${name} -: standard input is not taken here`);
  }
}

function assertNoneForgotten(words: readonly string[], takesValue: ReadonlySet<string>): void {
  for (const [index, word] of words.entries()) {
    if (word === "--") return;
    const next = words[index + 1];
    if (next !== undefined && !NO_VALUE.test(next)) continue;
    const name = NAME.exec(word)?.[1]?.replace(CAPITAL, (letter) => `-${letter.toLowerCase()}`);
    if (name !== undefined && takesValue.has(name)) throw new UsageError(`--${name}: the value is missing`);
  }
}

/** "no-host" beside "host". */
function isNegation(name: string, names: readonly string[]): boolean {
  return name.startsWith("no-") && names.includes(name.slice(3));
}

function namesIn(list: unknown): ReadonlySet<unknown> {
  return new Set(Array.isArray(list) ? list : []);
}
