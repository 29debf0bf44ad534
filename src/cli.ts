import yargs from "yargs";
import { UnknownCheck } from "./checks/engine.ts";
import { assertGivenOnce, assertNoneEmpty } from "./commands/arguments.ts";
import { CannotCountLive } from "./commands/cannot-count-live.ts";
import { configCommands } from "./commands/config-cli.ts";
import { doctorCommand } from "./commands/doctor-cli.ts";
import { enrollCommand } from "./commands/enroll-cli.ts";
import { failureText, USAGE } from "./commands/failure.ts";
import { hostCommands } from "./commands/host-cli.ts";
import { printAll } from "./commands/output.ts";
import { runCommand } from "./commands/run-cli.ts";
import { SUBJECT, unitName } from "./commands/subject.ts";
import { isUtf8, terminalWidth } from "./commands/terminal.ts";
import { InvalidTime, parseWindow } from "./commands/time-option.ts";
import { processId, UsageError } from "./commands/usage.ts";
import { TOOL_VERSION } from "./version.ts";

/* Commands are imported when they are called: what one needs must not slow another, or the help, down. */

/** Nothing could be judged or counted. */
const NOTHING = 1;

/** Some of yargs' messages have lines: what is wrong with a command line is one. */
const LINE_BREAK = /\n\s*/g;

/** Runs the command line and gives the exit code. */
async function main(args: readonly string[]): Promise<number> {
  let code = 0;
  const end = (exitCode: number): void => {
    code = exitCode;
  };
  assertNoneEmpty(args);
  const start = yargs([...args])
    .scriptName("vgpu-agent")
    // No option is a table: --log.x is a mistake, not a part of --log.
    .parserConfiguration({ "dot-notation": false })
    .check((values, declared) => {
      assertGivenOnce(args, values, declared);
      return true;
    })
    // Half of a page in another language would be the library's words alone, and only where its files are.
    .detectLocale(false)
    .usage(
      "$0 <command>\n\nSays what is proven, what is refuted and what is not known about where this VM's CUDA calls run.",
    );
  const parser = doctorCommand(start, end)
    .command(
      "calls",
      "count the transport calls: by call id, bytes, errors",
      (command) =>
        command
          .options(SUBJECT)
          .option("json", {
            type: "boolean",
            default: false,
            describe: "print one JSON document (schema/calls-1.json)",
          })
          .option("live", {
            type: "number",
            describe: "count for so many seconds as calls happen, without a log (root)",
          })
          .option("follow", { type: "boolean", describe: "count as calls happen until Ctrl-C (root)" })
          .conflicts("live", ["follow", "journal", "log", "root", "since", "until"])
          .conflicts("follow", ["journal", "log", "root", "since", "until"])
          .example("$0 calls --live 10", "count for ten seconds, exactly, with debug logging off")
          .example("$0 calls --follow", "the same, redrawn until Ctrl-C")
          .example("$0 calls", "count what the current server's log has")
          .example("$0 calls --since 1h --json", "the last hour, for a program")
          .example("$0 calls --journal /mnt/capture/journal", "a capture")
          .epilogue(
            "--live and --follow put probes into the shim's code while they count. A log has per-call lines only while VGPU_DEBUG is set. Exit code: 0 all counted, 4 in part, 1 nothing to count, 2 usage.",
          ),
      async (argv) => {
        if (argv.live !== undefined || argv.follow === true) {
          code = await countLive(argv.live ?? null, unitName(argv.unit), processId(argv.pid), argv.json);
          return;
        }
        const { calls } = await import("./commands/calls.ts");
        const result = await calls({
          root: argv.root ?? null,
          unit: unitName(argv.unit),
          pid: processId(argv.pid),
          window: parseWindow(argv.since, argv.until, Date.now()),
          journal: argv.journal ?? null,
          log: argv.log ?? null,
          json: argv.json,
          width: terminalWidth(160),
          ascii: !isUtf8(),
        });
        await printAll(result.text);
        code = result.exitCode;
      },
    )
    .command(
      "match",
      "match the host's mediator log with what a guest's log or report tells",
      (command) =>
        command
          .option("mediator-log", {
            type: "string",
            demandOption: true,
            // Else a lone "-" would not be taken for its value.
            nargs: 1,
            describe: "the mediator's log on the host; - reads standard input",
          })
          .option("guest-log", { type: "string", describe: "file with the guest workload's stderr" })
          .option("journal", { type: "string", describe: "the guest's journal: file, directory or export" })
          .option("report", { type: "string", describe: "a report of the guest: doctor --json" })
          .option("stub-log", { type: "string", describe: "the device model's log (QEMU's stderr) on the host" })
          .option("unit", SUBJECT.unit)
          .option("vm", { type: "number", describe: "the VM's id, as the mediator's log has it" })
          .option("json", {
            type: "boolean",
            default: false,
            describe: "print one JSON document (schema/match-1.json)",
          })
          .conflicts("report", ["guest-log", "journal"])
          .example("$0 match --mediator-log /tmp/mediator.log --guest-log stderr.log", "guest and host side by side")
          .example("$0 match --mediator-log mediator.log --journal guest.journal --vm 11", "a journal of the guest")
          .example(
            "$0 match --mediator-log mediator.log --report report.json --json",
            "a doctor's report, for a program",
          )
          .example(
            "ssh host cat /tmp/mediator.log | $0 match --mediator-log - --vm 11",
            "the host's side alone, by a pipe",
          )
          .epilogue(
            "Reads only. Other VMs' names and numbers are shown to whoever holds the mediator's log, never in --json. Exit code: 0 executing, 4 executing with failures or doubts, 3 refuted or broken, 1 nothing can be said, 2 usage.",
          ),
      async (argv) => {
        const { matchLogs } = await import("./commands/match-cli.ts");
        const { report = null, journal = null } = argv;
        const guestLog = argv["guest-log"] ?? null;
        const unit = unitName(argv.unit);
        const guest = { report, journal, guestLog, unit };
        code = await matchLogs({
          mediatorLog: argv["mediator-log"],
          // Most of the program is loaded with what reads this: not for the host's log alone.
          guest:
            report === null && journal === null && guestLog === null
              ? null
              : async () => (await import("./commands/match-guest.ts")).guestEvidence(guest),
          stubLog: argv["stub-log"] ?? null,
          vm: vmId(argv.vm),
          json: argv.json,
        });
      },
    )
    .command("host", "what runs on the host", (command) => hostCommands(command, end))
    .command("config", "the service's settings", (command) => configCommands(command, end));
  await runCommand(enrollCommand(parser, end), end)
    .completion("completion", "print what bash needs to complete these commands")
    .demandCommand(
      1,
      "Say what to do: vgpu-agent doctor, calls, match, enroll, run, config, or host. See vgpu-agent --help.",
    )
    .strict()
    .version(TOOL_VERSION)
    .help()
    .wrap(Math.min(process.stdout.columns ?? 80, 110))
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new UsageError(message.replaceAll(LINE_BREAK, " "));
    })
    .parseAsync();
  return code;
}

/** `calls --live` and `--follow`: Ctrl-C ends the counting and shows what was counted. */
async function countLive(seconds: number | null, unit: string, pid: number | null, json: boolean): Promise<number> {
  if (seconds !== null && !(seconds > 0 && seconds <= 86_400))
    throw new UsageError("--live takes seconds, up to a day");
  const { callsLive } = await import("./commands/calls-live.ts");
  const { LiveScreen } = await import("./commands/live-screen.ts");
  const end = new AbortController();
  const stop = () => end.abort();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, stop);
  // A reader that goes away ends the counting; what is left to say goes nowhere.
  process.stdout.on("error", stop);
  const movable = process.stdout.isTTY === true && process.env["TERM"] !== "dumb";
  // On a terminal each state replaces the one before; a program that follows gets a line for each; a pipe the last.
  const screen = movable && !json ? new LiveScreen(process.stdout) : null;
  const line = seconds === null && json ? (text: string) => void process.stdout.write(text) : null;
  const result = await callsLive({
    unit,
    pid,
    seconds,
    json,
    table: () => ({ width: terminalWidth(160), ascii: !isUtf8() }),
    onTick: screen === null ? line : (text) => screen.draw(text),
    signal: end.signal,
  });
  await printAll(screen === null ? result.text : screen.last(result.text));
  return result.exitCode;
}

function vmId(vm: number | undefined): number | null {
  if (vm === undefined) return null;
  if (!(Number.isInteger(vm) && vm >= 0 && vm <= 0xffffffff)) throw new UsageError("--vm takes the number of a VM");
  return vm;
}

function fail(error: unknown): number {
  const usage = error instanceof UsageError || error instanceof InvalidTime || error instanceof UnknownCheck;
  const isYargs = error instanceof Error && error.name === "YError";
  process.stderr.write(failureText(error, usage || error instanceof CannotCountLive || isYargs));
  return error instanceof CannotCountLive ? NOTHING : USAGE;
}

process.exitCode = await main(process.argv.slice(2)).catch(fail);
// A stuck read of a dead file system must not keep a finished run alive.
process.exit();
