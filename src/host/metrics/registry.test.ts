import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseExposition } from "../../../test/support/exposition.ts";
import { MetricError, Registry } from "./registry.ts";

describe("the registry", () => {
  test("shows every series from the start, with 0", () => {
    const registry = new Registry();
    registry.counter("a_total", "A.", { kind: ["x", "y"], way: ["in", "out"] });
    registry.gauge("b", "B.", {}, Number.NaN);
    const families = parseExposition(registry.render());
    assert.deepEqual(
      families.get("a_total")?.samples.map(({ labels, value }) => [labels["kind"], labels["way"], value]),
      [
        ["x", "in", 0],
        ["x", "out", 0],
        ["y", "in", 0],
        ["y", "out", 0],
      ],
    );
    assert.deepEqual(families.get("b")?.samples[0]?.value, Number.NaN);
  });

  test("writes labels and help so that they are read back as they were, whatever they hold", () => {
    const text = fc.string({ unit: "binary", minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(fc.uniqueArray(text, { minLength: 1, maxLength: 5 }), text, (values, help) => {
        const registry = new Registry();
        const family = registry.gauge("a", help, { label: values });
        values.forEach((value, index) => {
          family.of(value).set(index);
        });
        const samples = parseExposition(registry.render()).get("a")?.samples;
        assert.deepEqual(
          samples?.map(({ labels, value }) => [labels["label"], value]),
          values.map((value, index) => [value, index]),
        );
      }),
      { examples: [[["a\rb", "\u2028", "__proto__", "\ud800"], "\r\u2029"]] },
    );
  });

  test("counts what was observed in every bucket that holds it", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -10, max: 100, noNaN: true }), { maxLength: 200 }), (values) => {
        const registry = new Registry();
        const histogram = registry.histogram("h", "H.", [0.5, 1, 10], {}).of();
        for (const value of values) histogram.observe(value);
        histogram.observe(Number.NaN);
        const samples = parseExposition(registry.render()).get("h")?.samples ?? [];
        const expected = [0.5, 1, 10, Number.POSITIVE_INFINITY].map((bound) => values.filter((v) => v <= bound).length);
        assert.deepEqual(
          samples.slice(0, 4).map(({ value }) => value),
          expected,
        );
        const sum = values.reduce((total, value) => total + value, 0);
        assert.ok(Math.abs((samples[4]?.value ?? Number.NaN) - sum) < 1e-6);
        assert.equal(samples[5]?.value, values.length);
      }),
    );
  });

  test("never lets a counter fall or become no number", () => {
    const registry = new Registry();
    const counter = registry.counter("a_total", "A.", {}).of();
    counter.add(2);
    for (const amount of [-1, Number.NaN, Number.POSITIVE_INFINITY, 0]) counter.add(amount);
    counter.reach(1);
    assert.equal(parseExposition(registry.render()).get("a_total")?.samples[0]?.value, 2);
    counter.reach(7.5);
    assert.equal(parseExposition(registry.render()).get("a_total")?.samples[0]?.value, 7.5);
  });

  test("holds an open label to its bound, and lets nothing in unasked", () => {
    const registry = new Registry();
    const family = registry.gauge("a", "A.", { vm: { most: 3 }, rung: ["low", "high"] });
    assert.equal(family.size, 0);
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 100 }), (ids) => {
        for (const id of ids) family.admit(String(id));
        assert.ok(registry.size <= 6);
      }),
    );
    assert.equal(family.size, 6);
    assert.equal(family.admit("other"), false);
    assert.throws(() => family.of("other", "low"), MetricError);
    assert.throws(() => family.of("low"), MetricError);
    parseExposition(registry.render());
  });

  test("gives the room of a value that left to another", () => {
    const family = new Registry().gauge("a", "A.", { rung: ["low", "high"], vm: { most: 1 } });
    assert.equal(family.admit("1"), true);
    family.of("low", "1").set(5);
    assert.equal(family.admit("2"), false);
    family.dismiss("1");
    family.dismiss("1");
    assert.equal(family.size, 0);
    assert.equal(family.admit("2"), true);
    assert.equal(family.size, 2);
  });

  test("refuses declarations that Prometheus would refuse, or that have no bound", () => {
    const registry = new Registry();
    registry.gauge("a", "A.", {});
    assert.throws(() => registry.gauge("a", "A.", {}), /twice/);
    assert.throws(() => registry.gauge("a b", "A.", {}), MetricError);
    assert.throws(() => registry.counter("b", "B.", {}), /_total/);
    assert.throws(() => registry.gauge("c", "C.", { "d-e": ["x"] }), MetricError);
    assert.throws(() => registry.gauge("c", "C.", { le: ["x"] }), MetricError);
    assert.throws(() => registry.gauge("c", "C.", { d: { most: 1 }, e: { most: 1 } }), /more than one/);
    assert.throws(() => registry.histogram("f", "F.", [1, 1], {}), /ascend/);
    assert.throws(() => registry.gauge("g", "G.", { x: ["y"] }).admit("z"), /no open label/);
  });
});

describe("the reader of the format that these tests use", () => {
  test("refuses what the format refuses", () => {
    const head = "# HELP a A.\n# TYPE a gauge\n";
    parseExposition(`${head}a{b="c\\"d"} 1\n`);
    for (const bad of [
      "a 1\n",
      `${head}a 1`,
      `${head}b 1\n`,
      `${head}a 1\na 2\n`,
      `${head}a{b="c"d"} 1\n`,
      `${head}a{b="c\\x"} 1\n`,
      `${head}a one\n`,
      `${head}${head}`,
      "# HELP a A.\n# TYPE a counter\na 1\n",
      "# HELP a_total A.\n# TYPE a_total counter\na_total -1\n",
    ]) {
      assert.throws(() => parseExposition(bad), Error, bad);
    }
  });
});
