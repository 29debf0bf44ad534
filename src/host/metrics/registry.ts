/**
 * Numbers for Prometheus: counters, gauges and histograms with labels. Every series exists from the start, with 0, so
 * that a rate is right from the first event; and there are never more series than were declared, whatever a guest
 * sends. Text format 0.0.4 (prometheus.io, "Exposition formats").
 */

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** What a label may be: a closed list of values, which all exist from the start; or so many that come and go. */
export type LabelValues = readonly string[] | { readonly most: number };
/** A family's labels, in the order of their values in every call. At most one of them is open. */
export type Labels = Readonly<Record<string, LabelValues>>;

/** Raised for a wrong declaration or use: a bug of ours, never of what is counted. */
export class MetricError extends Error {}

/** One sample line: a suffix of the name, further labels, a value. */
interface Sample {
  readonly suffix: string;
  readonly extra: readonly (readonly [string, string])[];
  readonly value: number;
}

/** What one combination of label values holds. */
interface Series {
  samples(): readonly Sample[];
}

type Kind = "counter" | "gauge" | "histogram";

/** The series of one name. */
export class Family<S extends Series> {
  readonly name: string;
  readonly kind: Kind;
  readonly help: string;
  readonly #labels: readonly (readonly [string, LabelValues])[];
  readonly #make: () => S;
  readonly #series = new Map<string, { readonly values: readonly string[]; readonly series: S }>();
  readonly #open: number;
  readonly #opened = new Set<string>();

  constructor(name: string, kind: Kind, help: string, labels: Labels, make: () => S) {
    this.name = name;
    this.kind = kind;
    this.help = help;
    this.#labels = Object.entries(labels);
    this.#make = make;
    this.#open = this.#labels.findIndex(([, values]) => !isClosed(values));
    if (!NAME.test(name)) throw new MetricError(`${name} is no name of a metric`);
    for (const [label] of this.#labels) {
      if (!LABEL.test(label) || label.startsWith("__") || label === "le") throw new MetricError(`${label} is no label`);
    }
    if (this.#labels.filter(([, values]) => !isClosed(values)).length > 1) {
      throw new MetricError(`${name}: more than one open label`);
    }
    if (this.#open === -1) this.#fill([]);
  }

  /** The series of these values, which were declared; of an open label, one that was let in. Throws MetricError. */
  of(...values: readonly string[]): S {
    const found = this.#series.get(keyOf(values));
    if (found === undefined) throw new MetricError(`${this.name}: no series for ${values.join(", ")}`);
    return found.series;
  }

  /** Whether there are series with this value of the first label. */
  has(first: string): boolean {
    const [, values] = this.#labels[0] ?? ["", []];
    return isClosed(values) ? values.includes(first) : this.#opened.has(first);
  }

  /** Lets a value of the open label in: its series exist now, with 0. False when there are too many already. */
  admit(value: string): boolean {
    const [, values] = this.#labels[this.#open] ?? ["", []];
    if (isClosed(values)) throw new MetricError(`${this.name} has no open label`);
    if (this.#opened.has(value)) return true;
    if (this.#opened.size >= values.most) return false;
    this.#opened.add(value);
    this.#fill([], value);
    return true;
  }

  /** Removes the series of a value of the open label. */
  dismiss(value: string): void {
    if (!this.#opened.delete(value)) return;
    for (const [key, { values }] of this.#series) if (values[this.#open] === value) this.#series.delete(key);
  }

  /** Values of the open label. */
  get opened(): readonly string[] {
    return [...this.#opened];
  }

  get size(): number {
    return this.#series.size;
  }

  render(): string {
    let text = `# HELP ${this.name} ${escapeHelp(this.help)}\n# TYPE ${this.name} ${this.kind}\n`;
    for (const { values, series } of this.#series.values()) {
      const own = this.#labels.map(([label], index) => [label, values[index] ?? ""] as const);
      for (const { suffix, extra, value } of series.samples()) {
        text += `${this.name}${suffix}${labelText([...own, ...extra])} ${numberText(value)}\n`;
      }
    }
    return text;
  }

  /** Makes every combination; the open label has `opened`. */
  #fill(chosen: readonly string[], opened?: string): void {
    const next = this.#labels[chosen.length];
    if (next === undefined) {
      this.#series.set(keyOf(chosen), { values: chosen, series: this.#make() });
      return;
    }
    const [, values] = next;
    for (const value of isClosed(values) ? values : [opened ?? ""]) this.#fill([...chosen, value], opened);
  }
}

/** Only grows. */
export class Counter implements Series {
  #value = 0;
  /** Adds; a negative or impossible amount is passed over, because a counter that falls is read as a restart. */
  add(amount = 1): void {
    if (Number.isFinite(amount) && amount > 0) this.#value += amount;
  }
  /** Takes over a count that is kept elsewhere. */
  reach(total: number): void {
    if (Number.isFinite(total) && total > this.#value) this.#value = total;
  }
  samples(): readonly Sample[] {
    return [{ suffix: "", extra: [], value: this.#value }];
  }
}

/** Goes up and down. NaN: not known. */
export class Gauge implements Series {
  #value: number;
  constructor(initial = 0) {
    this.#value = initial;
  }
  set(value: number): void {
    this.#value = value;
  }
  samples(): readonly Sample[] {
    return [{ suffix: "", extra: [], value: this.#value }];
  }
}

/** Counts in buckets, each with an upper bound, ascending; the last one, without a bound, is added. */
export class Histogram implements Series {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  constructor(bounds: readonly number[]) {
    if (bounds.some((bound, index) => !(bound > (bounds[index - 1] ?? Number.NEGATIVE_INFINITY)))) {
      throw new MetricError("bounds of buckets do not ascend");
    }
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }
  /** Passes over what is no number. */
  observe(value: number): void {
    if (!Number.isFinite(value)) return;
    const index = this.#bounds.findIndex((bound) => value <= bound);
    const at = index === -1 ? this.#bounds.length : index;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += value;
  }
  samples(): readonly Sample[] {
    let total = 0;
    const buckets = this.#counts.map((count, index): Sample => {
      total += count;
      const le = numberText(this.#bounds[index] ?? Number.POSITIVE_INFINITY);
      return { suffix: "_bucket", extra: [["le", le]], value: total };
    });
    return [...buckets, { suffix: "_sum", extra: [], value: this.#sum }, { suffix: "_count", extra: [], value: total }];
  }
}

/** All families of a program, in the order in which they were declared. */
export class Registry {
  readonly #families = new Map<string, Family<Series>>();

  counter<const L extends Labels>(name: string, help: string, labels: L): Family<Counter> {
    if (!name.endsWith("_total")) throw new MetricError(`${name}: a counter's name ends with _total`);
    return this.#add(new Family(name, "counter", help, labels, () => new Counter()));
  }

  /** `initial`: NaN where 0 would be a statement. */
  gauge<const L extends Labels>(name: string, help: string, labels: L, initial = 0): Family<Gauge> {
    return this.#add(new Family(name, "gauge", help, labels, () => new Gauge(initial)));
  }

  histogram(name: string, help: string, bounds: readonly number[], labels: Labels): Family<Histogram> {
    return this.#add(new Family(name, "histogram", help, labels, () => new Histogram(bounds)));
  }

  /** Everything, as text for Prometheus. */
  render(): string {
    return [...this.#families.values()].map((family) => family.render()).join("");
  }

  /** Lines of samples that `render` gives at most now, without the buckets of histograms. */
  get size(): number {
    return [...this.#families.values()].reduce((sum, family) => sum + family.size, 0);
  }

  #add<S extends Series>(family: Family<S>): Family<S> {
    if (this.#families.has(family.name)) throw new MetricError(`${family.name} is declared twice`);
    this.#families.set(family.name, family);
    return family;
  }
}

const isClosed = (values: LabelValues): values is readonly string[] => Array.isArray(values);
const keyOf = (values: readonly string[]): string => JSON.stringify(values);

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const escapeValue = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

function labelText(labels: readonly (readonly [string, string])[]): string {
  if (labels.length === 0) return "";
  return `{${labels.map(([label, value]) => `${label}="${escapeValue(value)}"`).join(",")}}`;
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}
