import assert from "node:assert/strict";
import { test } from "node:test";
import { keepableArgv, keepableCommand, shapeOf } from "./process-shapes.ts";

const EXE = "/usr/local/bin/ollama";
const BLOB = "/models/blobs/sha256-74701a8c";

const GENERATIONS: readonly [string, string[], string | null][] = [
  ["a server", [EXE, "serve"], "server"],
  ["a server whose binary was renamed", ["/usr/local/bin/ollama.bin.new", "serve"], "server"],
  [
    "a server started through the loader",
    ["/lib64/ld-linux-x86-64.so.2", "--preload", "/x.so", EXE, "serve"],
    "server",
  ],
  [
    "a runner of 0.5.1 and older",
    ["/tmp/ollama1/runners/cuda_v12/ollama_llama_server", "--model", BLOB, "--n-gpu-layers", "23", "--port", "4001"],
    "model-runner",
  ],
  [
    "a runner of 0.5.2 to 0.5.7",
    ["/usr/lib/ollama/runners/cuda_v12_avx/ollama_llama_server", "runner", "--model", BLOB, "--port", "4001"],
    "model-runner",
  ],
  [
    "a runner of 0.5.8 and newer",
    [EXE, "runner", "--model", BLOB, "--ctx-size", "8192", "--port", "4001"],
    "model-runner",
  ],
  ["a runner of the new engine", [EXE, "runner", "--ollama-engine", "--model", BLOB, "--port", "4001"], "model-runner"],
  [
    "a runner whose binary was renamed",
    ["/usr/local/bin/ollama.bin.new", "runner", "--model", BLOB, "--port", "4001"],
    "model-runner",
  ],
  ["a discovery runner of 0.12.11 and newer", [EXE, "runner", "--ollama-engine", "--port", "4001"], "discovery-runner"],
  [
    "a llama-server of 0.30",
    [
      "/usr/lib/ollama/llama-server",
      "--model",
      BLOB,
      "--port",
      "4001",
      "--host",
      "127.0.0.1",
      "--no-webui",
      "--offline",
    ],
    "model-runner",
  ],
  [
    "a discovery llama-server of 0.30",
    ["/usr/lib/ollama/llama-server", "--port", "4001", "--no-webui", "--offline"],
    "discovery-runner",
  ],
  ["a llama-server that lists devices", ["/usr/lib/ollama/llama-server", "--list-devices"], "discovery-runner"],
  ["a wrapper script", ["/bin/bash", "/usr/local/lib/vgpu/ollama_wrapper.sh"], null],
  ["a wrapper script with the server's name", ["/bin/sh", EXE, "serve"], null],
  ["a client", [EXE, "run", "llama3", "serve"], null],
  ["another program", ["/usr/bin/sleep", "60"], null],
  ["a process without arguments", [], null],
];

for (const [what, argv, role] of GENERATIONS) {
  test(`${what} is ${role ?? "told by its arguments to be nothing of Ollama"}`, () => {
    assert.equal(shapeOf(argv)?.role ?? null, role);
  });
}

test("a program that merely has the word serve is not distinctive", () => {
  assert.equal(shapeOf(["/usr/bin/tailscale", "serve"])?.distinctive, false);
  assert.equal(shapeOf(["ollama", "serve"])?.distinctive, true);
});

test("values of flags, unknown flags and prompts are not kept", () => {
  const kept = shapeOf([
    EXE,
    "runner",
    `--model=${BLOB}`,
    "--port",
    "4001",
    "--api-key",
    "hunter2",
    "Tell me a secret",
  ]);
  assert.deepEqual(kept?.argv, [EXE, "runner", "--model", "--port"]);
  assert.deepEqual(keepableArgv(["python3", "ask.py", "Tell me a secret"]), ["python3"]);
});

test("a title that a process wrote over its arguments is cut at its first word", () => {
  assert.deepEqual(keepableArgv(["worker: prompt is: my password"]), ["worker:"]);
});

test("a command keeps its paths, so that a wrapper shows, and no values", () => {
  assert.equal(
    keepableCommand(["/usr/local/bin/force_load_shim", EXE, "serve", "--token", "hunter2", "--cert", "/etc/x.pem"]),
    `/usr/local/bin/force_load_shim ${EXE} serve … … … …`,
  );
});
