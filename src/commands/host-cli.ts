import type { Argv } from "yargs";
import { hostServeCommands } from "./host-serve-cli.ts";
import { printAll } from "./output.ts";
import { isUtf8, terminalWidth, wantsColour } from "./terminal.ts";
import { processId } from "./usage.ts";

/** What the admin socket can be asked: as in host/health/admin-protocol.ts, which is loaded when it is needed. */
const QUESTIONS = ["metrics", "health", "connections"] as const;

/** `vgpu-agent host …`: what runs on the host. `end` is given the exit code. */
export function hostCommands(command: Argv, end: (exitCode: number) => void): Argv {
  return hostServeCommands(command, end).command(
    "status",
    "the mediator's health, without asking it anything",
    (status) =>
      status
        .option("root", { type: "string", describe: "a captured file-system root instead of this machine" })
        .option("mediator-log", {
          type: "string",
          describe: "the mediator's log; by default the file that the running one writes to",
        })
        .option("pid", { type: "number", describe: "the mediator's process, where several run" })
        .option("admin-socket", {
          type: "string",
          describe: "ask here, too, in a moment in which no call runs (about 20 s): see below",
        })
        .option("question", {
          choices: QUESTIONS,
          default: QUESTIONS[1],
          describe: "what to ask the admin socket",
        })
        .option("json", { type: "boolean", default: false, describe: "print one JSON document" })
        .option("verbose", { type: "boolean", default: false, describe: "show what passed, too" })
        .option("color", { type: "boolean", describe: "colour; by default only on a terminal" })
        .example("$0 host status", "as root, on the host")
        .example("$0 host status --mediator-log /tmp/mediator.log", "a log alone")
        .epilogue(
          "Reads only. The admin socket is asked only when it is named: a client that gives up before it is answered kills the mediator, so the question is asked by a process of its own that outlives this one. Exit code: 0 sound, 4 warnings, 3 failures, 1 nothing could be judged, 2 usage.",
        ),
    async (argv) => {
      const { hostStatus } = await import("./host-status.ts");
      const ending = new AbortController();
      process.once("SIGINT", () => ending.abort());
      const result = await hostStatus({
        root: argv.root ?? null,
        mediatorLog: argv["mediator-log"] ?? null,
        pid: processId(argv.pid),
        adminSocket: argv["admin-socket"] ?? null,
        question: argv.question,
        json: argv.json,
        render: {
          colour: wantsColour(argv.color),
          width: terminalWidth(80),
          verbose: argv.verbose,
          ascii: !isUtf8(),
        },
        signal: ending.signal,
      });
      await printAll(result.text);
      end(result.exitCode);
    },
  );
}
