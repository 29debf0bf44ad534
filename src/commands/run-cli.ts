import type { Argv } from "yargs";

/** EX_TEMPFAIL of sysexits.h: it ended by itself, and a service manager starts it anew. */
const START_AGAIN = 75;
const NOTHING = 1;

/** `vgpu-agent run`: the service. `end` is given the exit code. */
export function runCommand(program: Argv, end: (exitCode: number) => void): Argv {
  return program.command(
    "run",
    "the service: observe this VM, and report to the host",
    (command) =>
      command
        .option("config", { type: "string", describe: "the settings; by default /etc/vgpu-agent/agent.toml" })
        .option("state", {
          type: "string",
          default: process.env["STATE_DIRECTORY"] || "/var/lib/vgpu-agent",
          describe: "directory for what has to outlive a restart",
        })
        .example("systemctl start vgpu-agent", "as a service (/usr/lib/systemd/system/vgpu-agent.service)")
        .example("$0 run --config ./agent.toml --state /tmp/state", "by hand, until Ctrl-C")
        .epilogue(
          "Logs to stderr, one line of JSON each. SIGHUP reads the settings again; SIGTERM and SIGINT end it. Exit code: 0 told to end, 75 above its memory limit, 1 cannot run.",
        ),
    async (argv) => {
      const { runAgent } = await import("../agent/service/agent.ts");
      const { CannotRun } = await import("../agent/service/state-directory.ts");
      const { connectServiceManager } = await import("../agent/service/service-manager.ts");
      const ending = new AbortController();
      for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => ending.abort());
      // Before the settings are read, a SIGHUP would end it.
      let reload: () => void = () => {};
      process.on("SIGHUP", () => reload());
      const manager = await connectServiceManager();
      try {
        const ended = await runAgent({
          settingsFile: argv.config ?? null,
          stateDirectory: argv.state,
          manager,
          signal: ending.signal,
          onReload: (act) => {
            reload = act;
          },
        });
        if (ended === "memory") end(START_AGAIN);
      } catch (error) {
        if (!(error instanceof CannotRun)) throw error;
        process.stderr.write(`${error.message}\n`);
        end(NOTHING);
      } finally {
        manager.close();
      }
    },
  );
}
