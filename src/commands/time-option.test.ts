import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidTime, parseTime, parseWindow } from "./time-option.ts";

const NOW = Date.parse("2026-03-26T12:00:00Z");
const at = (text: string) => parseTime("--since", text, NOW);

test("a span is before now", () => {
  assert.equal(at("90s"), NOW - 90_000);
  assert.equal(at("10m"), NOW - 600_000);
  assert.equal(at("10min"), NOW - 600_000);
  assert.equal(at("2h"), NOW - 7_200_000);
  assert.equal(at(" 3 d "), NOW - 3 * 86_400_000);
  assert.equal(at("0s"), NOW);
});

test("a time with a zone is that moment", () => {
  assert.equal(at("2026-03-26T06:35:38Z"), Date.UTC(2026, 2, 26, 6, 35, 38));
  assert.equal(at("2026-03-26 06:35:38.250+02:00"), Date.UTC(2026, 2, 26, 4, 35, 38, 250));
  assert.equal(at("2026-03-26T06:35+0200"), Date.UTC(2026, 2, 26, 4, 35));
});

test("a time or a day without a zone is local", () => {
  assert.equal(at("2026-03-26 06:35"), new Date(2026, 2, 26, 6, 35).getTime());
  assert.equal(at("2026-03-26"), new Date(2026, 2, 26).getTime());
  assert.equal(at("2024-02-29"), new Date(2024, 1, 29).getTime());
});

test("an option that was not given is open", () => {
  assert.equal(parseTime("--since", undefined, NOW), null);
  assert.deepEqual(parseWindow(undefined, undefined, NOW), { since: null, until: null });
});

test("what is no time is refused, and the option is named", () => {
  const bad = [
    "",
    "10",
    "m",
    "-5m",
    "1w",
    "yesterday",
    "2026-02-30",
    "2026-13-01",
    "2026-03-26T25:00",
    "06:35",
    "2026-03-26 06:35 x",
    "2026-03-26T06:35Zjunk",
    "99999999999s",
  ];
  for (const text of bad) {
    assert.throws(
      () => at(text),
      (error) => error instanceof InvalidTime && error.message.startsWith("--since"),
      text,
    );
  }
});

test("a window that ends before it begins is refused", () => {
  assert.deepEqual(parseWindow("2h", "1h", NOW), { since: NOW - 7_200_000, until: NOW - 3_600_000 });
  assert.throws(() => parseWindow("1h", "2h", NOW), InvalidTime);
  assert.throws(() => parseWindow("1h", "1h", NOW), InvalidTime);
});
