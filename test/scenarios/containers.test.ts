import { describe, it } from "node:test";
import { startContainer } from "../bench/container.ts";
import { ollamaUnit } from "../bench/payload.ts";
import { ensureContainer } from "../bench/setup.ts";
import { CONTAINER_SCENARIOS } from "./containers.ts";
import { expectTruth } from "./expect.ts";

const skip = (await ensureContainer()) ?? false;

describe("the doctor in a container with its own systemd", { skip }, () => {
  for (const scenario of CONTAINER_SCENARIOS) {
    it(`${scenario.name}: ${scenario.story}`, async () => {
      await using box = await startContainer({
        devices: scenario.devices,
        sys: { "/kernel/security/lockdown": scenario.lockdown ?? "[none] integrity confidentiality\n" },
        units: { "ollama.service": ollamaUnit(scenario.unit) },
        ...(scenario.files === undefined ? {} : { files: scenario.files }),
      });
      if (scenario.before !== undefined) await box.exec(scenario.before);
      await box.exec("systemctl start ollama");
      await box.until(scenario.until);
      await box.exec("journalctl --sync");
      const run = await box.exec(
        "vgpu-agent doctor --json",
        scenario.user === undefined ? {} : { user: scenario.user },
      );
      expectTruth(scenario.name, scenario.truth, run.stdout, run.exitCode);
    });
  }
});
