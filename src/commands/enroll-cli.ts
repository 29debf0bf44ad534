import type { Argv } from "yargs";
import { ENROLMENT_FILE } from "../agent/settings/enrolment-path.ts";
import { printAll } from "./output.ts";

/** More than any word, with what an editor puts around it. */
const MOST_CHARACTERS = 8192;
const NOTHING = 1;

/** `vgpu-agent enroll`: keeps the host's word. `end` is given the exit code. */
export function enrollCommand(command: Argv, end: (exitCode: number) => void): Argv {
  return command.command(
    "enroll [word]",
    "enrol this VM with its host: WRITES the enrolment to a file",
    (enrolling) =>
      enrolling
        .positional("word", {
          type: "string",
          describe:
            "what `vgpu-agent host enroll` printed on the host; without it, or with -, it is read from standard input",
        })
        // Else a lone "-" would not be taken for it.
        .nargs("word", 1)
        .option("enrolment", {
          type: "string",
          describe: `the file to write; by default host.enrolment of the settings: ${ENROLMENT_FILE}`,
        })
        .option("config", {
          type: "string",
          describe: "the service's settings, for their host.enrolment; by default /etc/vgpu-agent/agent.toml",
        })
        .conflicts("config", "enrolment")
        .option("force", {
          type: "boolean",
          default: false,
          describe: "replace the enrolment with another host or VM",
        })
        .option("offline", {
          type: "boolean",
          default: false,
          describe: "do not ask the host whether it takes the token",
        })
        .example("$0 enroll < word", "as root: the token is on no command line and in no history")
        .example("ssh host vgpu-agent host enroll --vm 11 | $0 enroll", "straight from the host")
        .example("$0 enroll - --force", "paste it, then Ctrl-D: this VM moved to another host")
        .epilogue(
          "Writes one file, readable by its owner alone, after the host took the token; nothing else is changed. The word has the token: whoever sees it can report as this VM, and a command line can be seen by every user. Exit code: 0 written, 1 not written (stderr says why), 2 usage.",
        ),
    async (argv) => {
      const { CannotEnroll, enroll } = await import("./enroll.ts");
      const { word, enrolment, config, force, offline } = argv;
      try {
        const text = word === undefined || word === "-" ? await standardInput() : word;
        await printAll(await enroll({ word: text, file: enrolment ?? null, config: config ?? null, force, offline }));
      } catch (error) {
        if (!(error instanceof CannotEnroll)) throw error;
        process.stderr.write(`vgpu-agent: ${error.message}\n`);
        end(NOTHING);
      }
    },
  );
}

/** All of it, or the beginning of what is too long to be a word. */
async function standardInput(): Promise<string> {
  if (process.stdin.isTTY)
    process.stderr.write("Paste what the host's operator gave you, then press Enter and Ctrl-D:\n");
  let text = "";
  process.stdin.setEncoding("latin1");
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > MOST_CHARACTERS) break;
  }
  return text;
}
