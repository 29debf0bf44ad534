import { hostname } from "node:os";
import type { Argv } from "yargs";
import { printAll } from "./output.ts";
import { UsageError } from "./usage.ts";

const DATA = {
  type: "string",
  default: "/var/lib/vgpu-host",
  describe: "directory of the store and the TLS key",
} as const;
const DURATION = /^(\d{1,6})([smhd])$/;
const SIZE = /^(\d{1,6})([MG])i?B?$/;
const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `vgpu-agent host`, and the enrolment of guests. `end` is given the exit code. */
export function hostServeCommands(command: Argv, end: (exitCode: number) => void): Argv {
  return command
    .command(
      "$0",
      "receive guests' reports and answer them, until it is told to stop",
      (serve) =>
        serve
          .option("listen", {
            type: "string",
            default: "0.0.0.0:8443",
            describe: "ADDRESS:PORT for the guests (HTTPS)",
          })
          .option("data", DATA)
          .option("mediator-log", {
            type: "string",
            describe: "follow this log of the mediator and join it with the reports",
          })
          .option("metrics", { type: "string", describe: "serve /metrics for Prometheus here, e.g. 127.0.0.1:9464" })
          .option("keep", { type: "string", default: "30d", describe: "how long reports are kept: 12h, 30d" })
          .option("keep-size", { type: "string", default: "4G", describe: "how much is kept: 500M, 4G" })
          .example("$0 host", "receive on all addresses, port 8443")
          .example("$0 host --mediator-log /tmp/mediator.log", "the same, and join")
          .example("$0 host --listen 10.0.0.1:8443 --data /srv/vgpu-host", "one address, another directory")
          .epilogue(
            "Logs to stderr, one line of JSON each. SIGTERM and SIGINT end it cleanly. Exit code: 0 told to end, 1 cannot run (stderr says why), 2 usage.",
          ),
      async (argv) => {
        const { hostListen } = await import("./host-listen.ts");
        const ending = new AbortController();
        for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => ending.abort());
        await orSay(end, () =>
          hostListen({
            listen: argv.listen,
            data: argv.data,
            metrics: argv.metrics ?? null,
            keepMs: duration("--keep", argv.keep),
            keepBytes: size("--keep-size", argv["keep-size"]),
            mediatorLog: argv["mediator-log"] ?? null,
            signal: ending.signal,
          }),
        );
      },
    )
    .command(
      "enroll",
      "make a token for a VM, and print what its operator needs",
      (enrolling) =>
        enrolling
          .option("vm", { type: "number", demandOption: true, describe: "the VM's id, as the mediator's log has it" })
          .option("url", {
            type: "string",
            default: `https://${hostname()}:8443`,
            describe: "where the VM reaches this host",
          })
          .option("expires", { type: "string", describe: "30d, 12h; without it: never" })
          .option("data", DATA)
          .example("$0 host enroll --vm 11 --url https://10.0.0.1:8443", "print the word for VM 11")
          .example("$0 host enroll --vm 11 --expires 30d", "a token for a month")
          .epilogue(
            "Writes the token to the store, which is made when there is none: run this as the service's own user. The word is printed once, on stdout: it is secret. Exit code: 0 made, 1 not made (stderr says why), 2 usage.",
          ),
      async (argv) => {
        const { enroll } = await import("./host-tokens.ts");
        const { isHttpsOrigin } = await import("../report/wire/enrolment-string.ts");
        const { vm, url, data } = argv;
        if (!(Number.isInteger(vm) && vm >= 0 && vm <= 0xffffffff))
          throw new UsageError("--vm takes the number of a VM");
        if (!isHttpsOrigin(url)) throw new UsageError("--url takes https://HOST:PORT");
        const expiresMs = argv.expires === undefined ? null : duration("--expires", argv.expires);
        await orSay(end, async () => {
          const { word, note } = await enroll({ data, vm, url, expiresMs });
          process.stderr.write(note);
          await printAll(word);
        });
      },
    )
    .command(
      "tokens",
      "list the tokens, without their secrets",
      (tokens) =>
        tokens
          .option("data", DATA)
          .option("json", { type: "boolean", default: false, describe: "print one JSON document" })
          .example("$0 host tokens", "who is enrolled, since when and until when")
          .epilogue("Exit code: 0 listed, 1 the store cannot be read (stderr says why), 2 usage."),
      async (argv) => {
        const { tokensText } = await import("./host-tokens.ts");
        await orSay(end, async () => printAll(await tokensText(argv.data, argv.json)));
      },
    )
    .command(
      "revoke <token>",
      "take a token back: its VM is refused from now on",
      (revoking) =>
        revoking
          .positional("token", { type: "string", demandOption: true, describe: "its id, as `host tokens` shows it" })
          .option("data", DATA)
          .example("$0 host revoke 3410c256", "refused from the next request on; the running host need not be told")
          .epilogue("Exit code: 0 taken back, 1 there is no such token (stderr says so), 2 usage."),
      async (argv) => {
        const { revoke } = await import("./host-tokens.ts");
        await orSay(end, async () => {
          if (await revoke(argv.data, argv.token)) return;
          process.stderr.write("vgpu-agent: no such token, or it was revoked before: see vgpu-agent host tokens\n");
          end(1);
        });
      },
    );
}

/** What the operator can mend is a line and exit code 1; all else is a bug, and is thrown on. */
async function orSay(end: (exitCode: number) => void, run: () => Promise<void>): Promise<void> {
  const { CannotListen } = await import("../host/server/server.ts");
  const { DataDirectoryError } = await import("../host/enrolment/identity.ts");
  const { InvalidAddress } = await import("../host/listen-address.ts");
  const { MetricsAddressError } = await import("../host/metrics/listener.ts");
  const { StoreError } = await import("../host/store/errors.ts");
  try {
    await run();
  } catch (error) {
    if (error instanceof InvalidAddress) throw new UsageError(error.message);
    const isExpected = [CannotListen, DataDirectoryError, MetricsAddressError, StoreError].some(
      (kind) => error instanceof kind,
    );
    if (!isExpected || !(error instanceof Error)) throw error;
    process.stderr.write(`vgpu-agent: ${error.message}\n`);
    end(1);
  }
}

/** Milliseconds. */
function duration(option: string, text: string): number {
  const [, digits, letter] = DURATION.exec(text) ?? [];
  const unit = letter === "s" || letter === "m" || letter === "h" || letter === "d" ? UNIT_MS[letter] : 0;
  if (Number(digits) * unit > 0) return Number(digits) * unit;
  throw new UsageError(`${option} takes a time such as 12h or 30d`);
}

/** Bytes. */
function size(option: string, text: string): number {
  const [, digits, letter] = SIZE.exec(text) ?? [];
  const bytes = Number(digits) * (letter === "G" ? 1024 ** 3 : 1024 ** 2);
  if (bytes > 0) return bytes;
  throw new UsageError(`${option} takes a size such as 500M or 4G`);
}
