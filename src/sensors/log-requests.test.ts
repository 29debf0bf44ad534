import assert from "node:assert/strict";
import { test } from "node:test";
import { fold, type Given, onlyServer, T0 } from "../../test/fixtures/log-entries.ts";

const gin = (status: number, duration: string, path = "/api/generate", method = "POST"): string =>
  `[GIN] 2026/03/26 - 06:13:24 | ${status} | ${duration.padStart(13)} |       127.0.0.1 | ${method}     "${path}"`;
const requests = (...entries: Given[]) =>
  onlyServer(fold([{ text: 'msg="Listening on 127.0.0.1:11434 (version 0.17.7)"' }, ...entries])).requests;

test("requests that ran a model are kept with status, duration and the time of their line", () => {
  const kept = requests(
    { text: gin(200, "1.5s"), at: T0 + 5000 },
    { text: gin(500, "1h11m3s", "/v1/chat/completions"), at: T0 + 6000 },
    { text: gin(200, "38.456µs", "/api/version", "GET"), at: T0 + 7000 },
    { text: gin(200, "soon"), at: T0 + 8000 },
  );
  assert.deepEqual(
    kept.map(({ status, durationMs, sample }) => [status, durationMs, sample.at]),
    [
      [200, 1500, T0 + 5000],
      [500, 4_263_000, T0 + 6000],
      [200, null, T0 + 8000],
    ],
  );
});

test("a request line inside of another line is somebody's text", () => {
  assert.deepEqual(
    requests({ text: `level=DEBUG msg="prompt" text="${gin(200, "1s")}` }, { text: ` ${gin(200, "1s")}` }),
    [],
  );
});

test("the last sixty-four are kept, in memory that does not grow", () => {
  const many = Array.from({ length: 1000 }, (_, index) => ({ text: gin(200, `${index}ms`), at: T0 + index }));
  const kept = requests(...many);
  assert.equal(kept.length, 64);
  assert.deepEqual([kept[0]?.durationMs, kept.at(-1)?.durationMs], [936, 999]);
});
