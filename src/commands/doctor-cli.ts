import type { Argv } from "yargs";
import { FORMATS, type Format } from "../report/formats.ts";
import { visible } from "../report/text.ts";
import type { HostRequest } from "./host-request.ts";
import { printAll } from "./output.ts";
import { SUBJECT, unitName } from "./subject.ts";
import { isUtf8, terminalWidth, wantsColour } from "./terminal.ts";
import { parseWindow } from "./time-option.ts";
import { processId, UsageError } from "./usage.ts";

/** `vgpu-agent doctor`. `end` is given the exit code. */
export function doctorCommand(command: Argv, end: (exitCode: number) => void): Argv {
  return command.command(
    "doctor",
    "judge this VM now, and say what to do next",
    (doctoring) =>
      doctoring
        .options(SUBJECT)
        .option("json", { type: "boolean", describe: "print one JSON document (schema/report-1.json)" })
        .option("format", { choices: FORMATS, requiresArg: true, describe: "how to print the report" })
        .option("short", { type: "boolean", describe: "under 40 lines, ready to paste" })
        .option("host", {
          type: "string",
          describe: "ask this counterpart, which this VM is enrolled with, for its record of the same calls",
        })
        .option("no-host", { describe: "ask none, although this VM is enrolled" })
        .option("enrolment", {
          type: "string",
          describe: "the file that `vgpu-agent enroll` wrote; by default the one that the settings name",
        })
        .option("config", {
          type: "string",
          describe: "the service's settings, for what they say of the host; by default /etc/vgpu-agent/agent.toml",
        })
        .option("mediator-log", {
          type: "string",
          describe: "compare with the mediator's log, where it can be read here",
        })
        .option("live", {
          type: "number",
          describe: "count calls for so many seconds as they happen, and judge them too (root)",
        })
        .option("only", { type: "string", array: true, default: [], describe: "run these checks only" })
        .option("skip", { type: "string", array: true, default: [], describe: "leave these checks out" })
        .option("list", { type: "boolean", default: false, describe: "list the checks and stop" })
        .option("verbose", { type: "boolean", default: false, describe: "show what passed and what was read, too" })
        .option("color", { type: "boolean", describe: "colour; by default only on a terminal" })
        .conflicts("json", ["format", "short"])
        .conflicts("short", "format")
        .conflicts("config", "enrolment")
        .example("$0 doctor", "judge this VM (as root, to see everything)")
        .example("$0 doctor --live 10", "the same, with the calls of ten seconds: run a request meanwhile")
        .example("$0 doctor --host https://10.0.0.1:8443 --live 10", "guest and host side by side, of these seconds")
        .example("$0 doctor --log stderr.log --mediator-log mediator.log", "the same with both logs on this machine")
        .example("$0 doctor --pid 4711", "judge a CUDA program that is not Ollama")
        .example("$0 doctor --format markdown > ticket.md", "a checklist to paste into a ticket")
        .example("$0 doctor --root /mnt/capture --journal /mnt/capture/journal", "judge a capture of another VM")
        .example("$0 doctor --log stderr.log --json", "judge a saved stderr alone")
        .epilogue(
          "Reads only; --live puts probes into the shim's code while it counts. A VM that is enrolled (vgpu-agent enroll) is compared with its host's record without being told to, unless host.enabled is false in the settings: counts, sizes and pointers of its calls go there, and the report. Exit code: 0 nothing worse than info, 4 warnings, 3 failures, 1 no verdict, 2 usage.",
        ),
    async (argv) => {
      const { assertChecksExist, doctor, listChecks } = await import("./doctor.ts");
      if (argv.list) {
        await printAll(listChecks());
        return;
      }
      const selection = { only: words(argv.only), skip: words(argv.skip) };
      assertChecksExist(selection);
      const tty = process.stdout.isTTY === true;
      const format: Format = argv.json === true ? "json" : argv.short === true ? "short" : (argv.format ?? "tty");
      const result = await doctor({
        root: argv.root ?? null,
        unit: unitName(argv.unit),
        pid: processId(argv.pid),
        window: parseWindow(argv.since, argv.until, Date.now()),
        journal: argv.journal ?? null,
        log: argv.log ?? null,
        live: liveSpan(argv.live, [argv.root, argv.journal, argv.log]),
        mediatorLog: argv["mediator-log"] ?? null,
        host: hostRequest(argv.host, argv, [argv.root, argv["mediator-log"]]),
        selection,
        format,
        render: {
          colour: wantsColour(argv.color),
          width: Math.min(terminalWidth(80), 120),
          verbose: argv.verbose,
          ascii: !isUtf8(),
          pretty: tty,
        },
        progress: process.stderr.isTTY === true,
      });
      await printAll(result.text);
      end(result.exitCode);
      const note = (await result.afterwards?.()) ?? null;
      if (note !== null) process.stderr.write(`vgpu-agent: ${visible(note)}\n`);
    },
  );
}

/** Seconds of `doctor --live`; the calls that happen now are those of this machine. */
function liveSpan(seconds: number | undefined, elsewhere: readonly (string | undefined)[]): number | null {
  if (seconds === undefined) return null;
  if (!(seconds > 0 && seconds <= 86_400)) throw new UsageError("--live takes seconds, up to a day");
  if (elsewhere.some((path) => path !== undefined)) {
    throw new UsageError(
      "--live counts the calls of this machine as they happen: leave out --root, --journal and --log",
    );
  }
  return seconds;
}

/** `host` is false for --no-host, whatever its type says. Null: no host is asked. */
function hostRequest(
  host: unknown,
  { enrolment, config }: { readonly enrolment?: string | undefined; readonly config?: string | undefined },
  [root, mediatorLog]: readonly [string | undefined, string | undefined],
): HostRequest | null {
  const url = typeof host === "string" ? host : null;
  if (url !== null && URL.parse(url)?.protocol !== "https:") {
    throw new UsageError(`--host ${url}: give the address of the counterpart: https://HOST:PORT`);
  }
  if (host === false && enrolment !== undefined) throw new UsageError("--no-host asks none: leave out --enrolment");
  const isNamed = url !== null || enrolment !== undefined;
  if (isNamed && root !== undefined) {
    throw new UsageError("--host compares this machine's own calls: leave out --root");
  }
  if (isNamed && mediatorLog !== undefined) {
    throw new UsageError("--host and --mediator-log are two ways to the same record: leave one out");
  }
  if (host === false || root !== undefined || mediatorLog !== undefined) return null;
  return { url, enrolment: enrolment ?? null, config: config ?? null };
}

function words(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(",")).filter((value) => value !== "");
}
