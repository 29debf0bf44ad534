import { type AST, ParseError, parseTOML } from "toml-eslint-parser";
import type { Position } from "./problem.ts";

/**
 * A TOML 1.0 text as a flat list of what it sets, each with its place. The library's own conversion into objects is not
 * used: a table named `__proto__` changes the prototype of all objects there.
 */

/** A table that is named: `[a]`, `[[a]]`, or `a = {…}`. */
export interface TomlTable {
  readonly path: readonly string[];
  /** Of its name, in UTF-16 units from the text's start. */
  readonly offset: number;
  /** One of an array of tables. */
  readonly isOfArray: boolean;
}

export interface TomlEntry {
  readonly path: readonly string[];
  readonly keyOffset: number;
  readonly valueOffset: number;
  /** The value as it is written. */
  readonly source: string;
  /** Null for what no setting can be: arrays, dates, and tables below a key. */
  readonly value: string | number | boolean | null;
}

export interface TomlDocument {
  readonly tables: readonly TomlTable[];
  readonly entries: readonly TomlEntry[];
}

export interface SyntaxProblem {
  readonly offset: number;
  readonly message: string;
}

/** Settings have a table and a key; what is written below a key is not looked into. */
const DEPTH = 2;
/** TOML allows no carriage return but before a line feed; the library takes one inside strings and at line ends. */
const LONE_RETURN = /\r(?!\n)/;
const VALUE_BEGINS = /=[ \t]*$/;
const WORD = /[a-z/~]/i;
const OPENERS = "[{";
const CLOSERS = "]}";
/** Fewer would fit on the stack. */
const DEEP = 200;
const NOTHING = /^\s*(#|$)/;
/** A key without a value, a table's name without its end, a word alone; all without a comment. */
const INCOMPLETE = /^[^=]*=$|^\s*\[[\w."' -]*$|^\s*\[\[[\w."' -]*\]?$|^\s*[\w."'-]+$/;
const BLANK = /^[\s#]?$/;
const NUMBER_ENDS = /=[ \t]*\d+$/;

export function parseToml(text: string): TomlDocument | SyntaxProblem {
  const loneReturn = text.search(LONE_RETURN);
  if (loneReturn !== -1) {
    return { offset: loneReturn, message: "a carriage return without a line feed: lines end with \\n or \\r\\n" };
  }
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(text, { tomlVersion: "1.0" });
  } catch (error) {
    return problemOf(error, text);
  }
  const tables: TomlTable[] = [];
  const entries: TomlEntry[] = [];
  const add = (above: readonly string[], pairs: readonly AST.TOMLKeyValue[]): void => {
    for (const { key, value } of pairs) {
      const path = [...above, ...namesOf(key)];
      if (value.type === "TOMLInlineTable" && path.length < DEPTH) {
        tables.push({ path, offset: key.range[0], isOfArray: false });
        add(path, value.body);
      } else {
        const source = text.slice(...value.range);
        entries.push({ path, keyOffset: key.range[0], valueOffset: value.range[0], source, value: scalarOf(value) });
      }
    }
  };
  const [{ body }] = program.body;
  for (const node of body) {
    if (node.type === "TOMLKeyValue") {
      add([], [node]);
      continue;
    }
    const path = namesOf(node.key);
    tables.push({ path, offset: node.key.range[0], isOfArray: node.kind === "array" });
    add(path, node.body);
  }
  return { tables, entries };
}

/** The line and column of an offset in UTF-16 units. */
export function positionIn(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.split("\n").length;
  return { line, column: [...before.slice(lineStart)].length + 1 };
}

function namesOf(key: AST.TOMLKey): string[] {
  return key.keys.map((part) => (part.type === "TOMLBare" ? part.name : part.value));
}

function scalarOf(node: AST.TOMLContentNode): TomlEntry["value"] {
  if (node.type !== "TOMLValue") return null;
  return node.value instanceof Date ? null : node.value;
}

/** The parser is recursive, and a text that is nested without end takes all of its stack. */
function problemOf(error: unknown, text: string): SyntaxProblem {
  if (error instanceof ParseError) {
    const offset = blamed(text, error.index);
    return { offset, message: `no TOML: ${error.message}${hint(text, offset)}` };
  }
  if (error instanceof RangeError) return { offset: deepest(text), message: "no settings: it is nested too deeply" };
  return { offset: 0, message: `cannot be read as TOML: ${error instanceof Error ? error.message : String(error)}` };
}

/** The parser sees that something is missing where the next thing begins; what lacks it is the line before. */
function blamed(text: string, offset: number): number {
  const lines = text.slice(0, offset).split("\n");
  if (lines.pop()?.trim() !== "") return offset;
  let line = lines.pop();
  while (line !== undefined && NOTHING.test(line)) line = lines.pop();
  const content = line?.split("#", 1)[0]?.trimEnd();
  if (content === undefined || !INCOMPLETE.test(content)) return offset;
  return lines.reduce((length, { length: more }) => length + more + 1, content.length);
}

/** What is most often meant by a value that is none. */
function hint(text: string, offset: number): string {
  const line = text.slice(text.lastIndexOf("\n", offset - 1) + 1, offset);
  const next = text.charAt(offset);
  const isWord = WORD.test(next);
  if (isWord && VALUE_BEGINS.test(line)) return " (text has to be in quotes)";
  if (isWord && NUMBER_ENDS.test(line)) return " (a number has no unit: the key's name says it)";
  return BLANK.test(next) && VALUE_BEGINS.test(line) ? " (a value is missing)" : "";
}

/** About where a text that is nested too deeply becomes so. */
function deepest(text: string): number {
  let open = 0;
  for (let offset = 0; offset < text.length; offset += 1) {
    if (OPENERS.includes(text.charAt(offset))) open += 1;
    else if (CLOSERS.includes(text.charAt(offset))) open -= 1;
    if (open > DEEP) return offset;
  }
  return 0;
}
