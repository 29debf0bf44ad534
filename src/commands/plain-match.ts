/** A match of the host's log alone. */
export interface PlainMatch {
  readonly mediatorLog: string;
  readonly vm: number | null;
  readonly json: boolean;
}

/** A path that no command line's reader takes for anything else: no option, no quotes, not standard input. */
const PATH = /^[\w./+:,@][\w./+:,@-]*$/;
const NUMBER = /^(?:0|[1-9]\d{0,8})$/;

/**
 * What `match --mediator-log FILE [--vm N] [--json]` asks for, in any order, each once. Null: it is another command line,
 * or not certainly this one, and yargs has to read it.
 */
export function plainMatch(args: readonly string[]): PlainMatch | null {
  const [command, ...words] = args;
  if (command !== "match") return null;
  let mediatorLog: string | null = null;
  let vm: number | null = null;
  let json = false;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--json" && !json) {
      json = true;
      continue;
    }
    const value = words.shift() ?? "";
    if (word === "--mediator-log" && mediatorLog === null && PATH.test(value)) mediatorLog = value;
    else if (word === "--vm" && vm === null && NUMBER.test(value)) vm = Number(value);
    else return null;
  }
  return mediatorLog === null ? null : { mediatorLog, vm, json };
}
