import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cut, duration, Page, visible, visibleAscii, widthOf, wrap } from "./text.ts";

const anyText = fc.string({ unit: "binary", maxLength: 200 });

test("what moves the cursor, reorders a line or has no width is written out", () => {
  assert.equal(visible("a\x1b[2Jb\r\n\tc\x7f"), "a\\x1b[2Jb\\r\\n\\tc\\x7f");
  assert.equal(visible("\u009b31m"), "\\x9b31m");
  assert.equal(visible("x\u202egpj.exe\u200b\u2066"), "x\\u{202e}gpj.exe\\u{200b}\\u{2066}");
  assert.equal(visible("e\u0301\ufeff\u{e0041}\u3164"), "e\\u{301}\\u{feff}\\u{e0041}\\u{3164}");
  assert.equal(visible("\ud800"), "\\u{d800}");
  assert.equal(visible("Zürich 東京 ✔ 100 %"), "Zürich 東京 ✔ 100 %");
});

test("in ASCII our own signs get look-alikes and everything else is written out", () => {
  assert.equal(visibleAscii("✔ a — b … é"), "+ a - b ... \\xe9");
});

test("a visible text has no control, no format character and no line break, whatever it was made from", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.doesNotMatch(visible(text), /[\p{C}\p{Zl}\p{Zp}]/u);
      assert.match(visibleAscii(text), /^[\x20-\x7e]*$/);
    }),
  );
});

test("wide characters take two columns", () => {
  assert.equal(widthOf("abc"), 3);
  assert.equal(widthOf("東京"), 4);
  assert.equal(widthOf("한글"), 4);
  assert.equal(widthOf("Ａ"), 2);
  assert.equal(widthOf("✔ ✘ ○ ▲ →"), 9);
  assert.equal(widthOf("🚀"), 2);
});

test("cut keeps what fits and shows that something is missing", () => {
  assert.equal(cut("abcdef", 6), "abcdef");
  assert.equal(cut("abcdefg", 6), "abcde…");
  assert.equal(cut("東京東京", 5), "東京…");
});

test("lines are broken at spaces and a longer word stays whole", () => {
  assert.deepEqual(wrap("one two three", 7), ["one two", "three"]);
  assert.deepEqual(wrap("see /var/log/ollama-stderr.log now", 10), ["see", "/var/log/ollama-stderr.log", "now"]);
  assert.deepEqual(wrap("abcdefgh", 3, true), ["abc", "def", "gh"]);
});

test("wrapping loses no word, and hard lines are never too wide", () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 2, max: 60 }), (text, columns) => {
      const clean = visible(text);
      const words = (value: string) => value.split(" ").filter((word) => word !== "");
      assert.deepEqual(words(wrap(clean, columns).join(" ")), words(clean));
      const hard = wrap(clean, columns, true);
      for (const line of hard) assert.ok(widthOf(line) <= columns);
      assert.equal(hard.join("").replaceAll(" ", ""), clean.replaceAll(" ", ""));
    }),
  );
});

test("a page indents, hangs and limits what is put on it", () => {
  const page = new Page(20, false);
  page.put("one two three four five six seven", { lead: "- ", hang: 2, indent: 2, limit: 2 });
  assert.equal(page.toString(), "  - one two three\n    four five six s…\n");
});

test("durations are given in the unit that an operator thinks in, never rounded up", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0 ms"],
    [61.9, "61 ms"],
    [312, "0.31 s"],
    [9_999, "9.99 s"],
    [12_400, "12 s"],
    [119_999, "119 s"],
    [12 * 60_000 + 59_000, "12 min"],
    [3 * 3_600_000 + 3_599_000, "3 h"],
    [6 * 86_400_000, "6 d"],
    [Number.NaN, "?"],
    [-5, "?"],
  ];
  for (const [ms, words] of cases) assert.equal(duration(ms), words);
});
