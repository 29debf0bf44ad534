/**
 * A strict reader of Prometheus' text format 0.0.4, for tests: it accepts what the format's document allows and what
 * `promtool check metrics` asks for, and throws at everything else.
 */

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly ParsedSample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const HELP = new RegExp(`^# HELP (${NAME}) ((?:[^\\\\\\n]|\\\\\\\\|\\\\n)+)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{([^\\n]*)\\})? (NaN|[+-]Inf|-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/y;

const NUMBERS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  "+Inf": Number.POSITIVE_INFINITY,
  "-Inf": Number.NEGATIVE_INFINITY,
};

/** The families by name. Throws with the line that breaks a rule. */
export function parseExposition(text: string): ReadonlyMap<string, ParsedFamily> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, ParsedFamily>();
  const lines = text.slice(0, -1).split("\n");
  for (let at = 0; at < lines.length; ) {
    const help = HELP.exec(lines[at] ?? "");
    const type = TYPE.exec(lines[at + 1] ?? "");
    if (help?.[1] === undefined || type?.[1] !== help[1]) throw new Error(`no HELP and TYPE at "${lines[at]}"`);
    at += 2;
    const samples: ParsedSample[] = [];
    for (; at < lines.length && !(lines[at] ?? "").startsWith("#"); at += 1) samples.push(parseSample(lines[at] ?? ""));
    const family = { name: help[1], type: type[2] ?? "", help: help[2] ?? "", samples };
    if (families.has(family.name)) throw new Error(`${family.name} comes twice`);
    verify(family);
    families.set(family.name, family);
  }
  return families;
}

function parseSample(line: string): ParsedSample {
  const found = SAMPLE.exec(line);
  if (found?.[1] === undefined || found[3] === undefined) throw new Error(`no sample: "${line}"`);
  const labels: Record<string, string> = {};
  const text = found[2] ?? "";
  for (LABEL.lastIndex = 0; LABEL.lastIndex < text.length; ) {
    const label = LABEL.exec(text);
    if (label?.[1] === undefined || label[2] === undefined) throw new Error(`no labels: "${line}"`);
    if (label[1] in labels) throw new Error(`a label twice: "${line}"`);
    labels[label[1]] = label[2].replace(/\\(.)/g, (_, one: string) => (one === "n" ? "\n" : one));
  }
  return { name: found[1], labels, value: NUMBERS[found[3]] ?? Number(found[3]) };
}

function verify({ name, type, samples }: ParsedFamily): void {
  if ((type === "counter") !== name.endsWith("_total")) throw new Error(`${name}: only counters end with _total`);
  const suffixes = type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
  const seen = new Set<string>();
  for (const sample of samples) {
    if (!suffixes.some((suffix) => sample.name === name + suffix)) throw new Error(`${sample.name} below ${name}`);
    const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
    if (seen.has(key)) throw new Error(`a series twice: ${key}`);
    seen.add(key);
    if (type === "counter" && !(sample.value >= 0)) throw new Error(`${name} is ${sample.value}`);
  }
  if (type === "histogram") verifyHistogram(name, samples);
}

function verifyHistogram(name: string, samples: readonly ParsedSample[]): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
  const count = samples.find((sample) => sample.name === `${name}_count`)?.value;
  let before = { le: Number.NEGATIVE_INFINITY, value: 0 };
  for (const { labels, value } of buckets) {
    const le = NUMBERS[labels["le"] ?? ""] ?? Number(labels["le"]);
    if (!(le > before.le) || value < before.value) throw new Error(`${name}: buckets do not ascend`);
    before = { le, value };
  }
  if (before.le !== Number.POSITIVE_INFINITY || before.value !== count) throw new Error(`${name}: no +Inf bucket`);
}
