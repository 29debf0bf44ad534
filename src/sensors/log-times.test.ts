import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { NO_PREFIX, parseLinePrefix } from "./log-times.ts";

const MARCH = Date.UTC(2026, 2, 28);
const at = (line: string, notAfter = MARCH) => parseLinePrefix(line, notAfter).at;

describe("times at the start of log lines", () => {
  it("reads epoch seconds with their fraction", () => {
    assert.equal(at("1795371893.117386 [libvgpu-cuda] cuInit() CALLED"), 1795371893117);
    assert.equal(at("1795371893.5 x"), 1795371893500);
    assert.deepEqual(parseLinePrefix("1795371893.117386 host ollama[12]: x", MARCH), {
      at: 1795371893117,
      ident: "ollama",
      pid: 12,
    });
  });

  it("reads ISO 8601 with every form of zone", () => {
    const noon = Date.UTC(2026, 2, 26, 12, 0, 0);
    assert.equal(at("2026-03-26T12:00:00Z started"), noon);
    assert.equal(at("2026-03-26T08:00:00-0400 host ollama[7]: x"), noon);
    assert.equal(at("2026-03-26 14:00:00.250+02:00 x"), noon + 250);
    assert.equal(at("2026-03-26T12:00:00 x"), new Date(2026, 2, 26, 12).getTime(), "no zone: local time");
  });

  it("reads slog's time, alone and behind a syslog prefix, whose pid it keeps", () => {
    const time = Date.UTC(2026, 2, 26, 10, 35, 38, 138);
    assert.equal(at('time=2026-03-26T06:35:38.138-04:00 level=INFO msg="x"'), time);
    const both = "Mar 26 06:35:38 test-10 ollama[1187]: time=2026-03-26T06:35:38.138-04:00 level=INFO";
    assert.deepEqual(parseLinePrefix(both, MARCH), { at: time, ident: "ollama", pid: 1187 });
  });

  it("gives a date without a year the newest year that is not later than the file", () => {
    assert.equal(at("Mar 26 06:56:50 host ollama[1]: x"), new Date(2026, 2, 26, 6, 56, 50).getTime());
    assert.equal(at("Dec 31 23:59:59 host ollama[1]: x"), new Date(2025, 11, 31, 23, 59, 59).getTime());
    assert.equal(at("Feb 29 01:00:00 host ollama[1]: x"), new Date(2024, 1, 29, 1).getTime());
    assert.equal(at("Mar  6 06:56:50 host kernel: x"), new Date(2026, 2, 6, 6, 56, 50).getTime());
  });

  it("reads Gin's and Go's own times as local time", () => {
    const local = new Date(2026, 2, 26, 6, 13, 24).getTime();
    assert.equal(at("[GIN] 2026/03/26 - 06:13:24 | 200 |"), local);
    assert.equal(at("2026/03/26 06:13:24 routes.go:1008: INFO"), local);
  });

  it("finds no time where there is none, and none further in the line", () => {
    for (const line of [
      "",
      "[cuda-transport] Connected (vm_id=11)",
      "prompt said: time=2026-03-26T06:35:38Z",
      "Mar 26 quarterly report",
      "May contain nuts",
      "time=yesterday",
      "2026-13-45T99:99:99Z x",
      "12345 tokens",
    ]) {
      assert.equal(at(line), null, line);
    }
    assert.deepEqual(parseLinePrefix("host ollama[5]: x", MARCH), NO_PREFIX);
  });

  it("survives any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 192 }), (text) => {
        const { at: time } = parseLinePrefix(text, MARCH);
        assert.ok(time === null || Number.isFinite(time));
      }),
    );
  });
});
