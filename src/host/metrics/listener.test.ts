import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, test } from "node:test";
import { InvalidAddress } from "../listen-address.ts";
import { listenForMetrics, parseListenAddress } from "./listener.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };

async function serve(render: () => string) {
  const listener = await listenForMetrics(LOOPBACK, render);
  after(() => listener.close());
  return { listener, url: `http://127.0.0.1:${listener.port}` };
}

/** Sends bytes as they are and gives everything that comes back. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(text);
  let answer = "";
  socket.setEncoding("latin1").on("data", (piece: string) => {
    answer += piece;
  });
  socket.on("error", () => {});
  await once(socket, "close");
  return answer;
}

test("an address is one of this machine's, by number, with a port", () => {
  assert.deepEqual(parseListenAddress("127.0.0.1:9464"), { host: "127.0.0.1", port: 9464 });
  assert.deepEqual(parseListenAddress("[::1]:0"), { host: "::1", port: 0 });
  assert.deepEqual(parseListenAddress("localhost:1"), { host: "127.0.0.1", port: 1 });
  for (const bad of ["", "9464", ":9464", "example.org:9464", "127.0.0.1", "127.0.0.1:99999", "::1:9464", "1.2.3:9"]) {
    assert.throws(() => parseListenAddress(bad), InvalidAddress, bad);
  }
});

test("GET /metrics gives the text of this moment, with the format's content type", async () => {
  let asked = 0;
  const { url } = await serve(() => {
    asked += 1;
    return `a ${asked}\n`;
  });
  const first = await fetch(`${url}/metrics`);
  assert.equal(first.status, 200);
  assert.equal(first.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(await first.text(), "a 1\n");
  assert.equal(await (await fetch(`${url}/metrics?name=x`)).text(), "a 2\n");
  const head = await fetch(`${url}/metrics`, { method: "HEAD" });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
});

test("nothing else is there, and nothing is taken", async () => {
  const { url, listener } = await serve(() => "a 1\n");
  for (const path of ["/", "/metrics/", "/metrics/../x", "/debug"]) {
    assert.equal((await fetch(url + path)).status, 404, path);
  }
  const post = await fetch(`${url}/metrics`, { method: "POST", body: "x".repeat(1 << 16) }).catch(() => null);
  if (post !== null) assert.equal(post.status, 405);
  assert.match(await raw(listener.port, "hello\r\n\r\n"), /^HTTP\/1\.1 400 /);
  const long = `GET /metrics HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(20_000)}\r\n\r\n`;
  assert.doesNotMatch(await raw(listener.port, long), /^HTTP\/1\.1 200 /);
  assert.equal((await fetch(`${url}/metrics`)).status, 200);
});

test("a rendering that fails is said without its words, and the next one works", async () => {
  let fails = true;
  const { url } = await serve(() => {
    if (fails) throw new Error("secret");
    return "a 1\n";
  });
  const failed = await fetch(`${url}/metrics`);
  assert.equal(failed.status, 500);
  assert.doesNotMatch(await failed.text(), /secret/);
  fails = false;
  assert.equal((await fetch(`${url}/metrics`)).status, 200);
});

test("an address that is taken is an error that says so", async () => {
  const { listener } = await serve(() => "");
  await assert.rejects(
    listenForMetrics({ host: "127.0.0.1", port: listener.port }, () => ""),
    /cannot be served on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/,
  );
});

test("it closes although a client keeps its connection", async () => {
  const listener = await listenForMetrics(LOOPBACK, () => "a 1\n");
  const socket = connect(listener.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "data");
  const closed = once(socket, "close");
  await listener.close();
  await closed;
});
