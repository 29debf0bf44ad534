import assert from "node:assert/strict";
import { test } from "node:test";
import { launcherEvidence } from "./launcher-evidence.ts";

test("an agent that was started without the launcher has none of it", () => {
  assert.equal(launcherEvidence({ LD_PRELOAD: "/a", VGPU_AGENT_LAUNCHER_PRELOAD_FD: "3" }), null);
});

test("nothing was removed, and nothing covered", () => {
  assert.deepEqual(launcherEvidence({ VGPU_AGENT_LAUNCHER_REMOVED: "" }), { removed: [], preloadFd: null });
});

test("what was removed is told in its order, with the values that were passed on", () => {
  const env = {
    VGPU_AGENT_LAUNCHER_REMOVED: "NODE_OPTIONS,LD_PRELOAD,LD_PRELOAD",
    VGPU_AGENT_LAUNCHER_LD_PRELOAD: "/opt/vgpu/lib/libvgpu-cuda.so",
    VGPU_AGENT_LAUNCHER_PRELOAD_FD: "3",
  };
  const removed = [
    { name: "NODE_OPTIONS", value: null },
    { name: "LD_PRELOAD", value: "/opt/vgpu/lib/libvgpu-cuda.so" },
  ];
  assert.deepEqual(launcherEvidence(env), { removed, preloadFd: 3 });
});

test("what the launcher would not have written is bounded, and no descriptor", () => {
  for (const preloadFd of ["", "0", "-1", "3x", "../3", "9".repeat(40), "1e3"]) {
    const evidence = launcherEvidence({ VGPU_AGENT_LAUNCHER_REMOVED: "", VGPU_AGENT_LAUNCHER_PRELOAD_FD: preloadFd });
    assert.equal(evidence?.preloadFd, null, preloadFd);
  }
  const long = launcherEvidence({
    VGPU_AGENT_LAUNCHER_REMOVED: `LD_AUDIT,a=b,,${"x".repeat(65)},${"y,".repeat(9000)}`,
    VGPU_AGENT_LAUNCHER_LD_AUDIT: "z".repeat(5000),
  });
  assert.deepEqual(long?.removed, [
    { name: "LD_AUDIT", value: "z".repeat(1024) },
    { name: "y", value: null },
  ]);
});
