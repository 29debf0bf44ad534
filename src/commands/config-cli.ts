import type { Argv } from "yargs";
import { printAll } from "./output.ts";

/** As in agent/settings/settings.ts, which is loaded when it is needed. */
const INSTALLED = "/etc/vgpu-agent/agent.toml";

const FILE = { type: "string", describe: `the file; by default ${INSTALLED}` } as const;

/** `vgpu-agent config …`: the service's settings. `end` is given the exit code. */
export function configCommands(command: Argv, end: (exitCode: number) => void): Argv {
  return command
    .command(
      "check [file]",
      "say what is wrong with the service's settings, by line",
      (check) =>
        check
          .positional("file", FILE)
          .example("$0 config check", `check ${INSTALLED} before the service is told to read it`)
          .example("$0 config check agent.toml", "check a draft")
          .example("$0 config check && systemctl reload vgpu-agent", "put a change into effect")
          .epilogue(
            "Reads only. One line a problem: FILE:LINE:COLUMN: [table] key: what is wrong. The service keeps the settings that it has while the file has problems. Exit code: 0 sound, 3 problems, 2 usage.",
          ),
      async (argv) => {
        const { configCheck } = await import("./config.ts");
        const { text, exitCode } = configCheck(argv.file ?? null);
        await printAll(text);
        end(exitCode);
      },
    )
    .command(
      "show [file]",
      "print the settings that hold, and where each comes from",
      (show) =>
        show
          .positional("file", FILE)
          .option("json", { type: "boolean", default: false, describe: "print one JSON document" })
          .example("$0 config show", "all settings, as TOML with comments")
          .example("$0 config show agent.toml", "what a draft comes to")
          .example("$0 config show --json", "the same, for a program")
          .epilogue(
            "Reads only, and nothing of it is secret. What a running service goes by is what the file had when it was started or reloaded. Exit code: 0 shown, 3 the file has problems (on stderr), 2 usage.",
          ),
      async (argv) => {
        const { configShow } = await import("./config.ts");
        const { text, complaint, exitCode } = configShow(argv.file ?? null, argv.json);
        process.stderr.write(complaint);
        await printAll(text);
        end(exitCode);
      },
    )
    .demandCommand(1, "Say what to do: vgpu-agent config check, or show. See vgpu-agent config --help.");
}
