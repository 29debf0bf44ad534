import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

/**
 * A stand-in for the mediator's admin socket and heartbeat, in C, because what matters here is what the real one has by
 * default: blocking sockets in its one loop, and no handler for SIGPIPE. A client that is gone when the answer is
 * written ends it, as was seen with the real one (docs/wire.md, "Admin socket").
 *
 * It obeys lines on its standard input: "log TEXT" prints a line to its log, "serve" takes one client, reads its
 * question (blocking), and says "question N" on its standard output; "answer" writes the answer in two parts, closes,
 * and says "answered". Its end: end of input.
 */
const SOURCE = `
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static const char text[] = "=== GPU Health ===\\nTemperature:   37\\n";
int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  uint32_t question[4], header[3] = {0x56475055, 0, sizeof text - 1};
  int server = socket(AF_UNIX, SOCK_STREAM, 0), client = -1;
  char line[4096];
  if (argc < 3) return 2;
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 5)) return 3;
  FILE *log = fopen(argv[2], "a");
  if (!log) return 4;
  setbuf(log, NULL);
  setbuf(stdout, NULL);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    if (!strncmp(line, "log ", 4)) {
      fputs(line + 4, log);
      puts("logged");
    } else if (!strncmp(line, "serve", 5)) {
      client = accept(server, NULL, NULL);
      size_t have = 0;
      while (have < sizeof question) {
        ssize_t n = read(client, (char *)question + have, sizeof question - have);
        if (n <= 0) break;
        have += n;
      }
      printf("question %x after %zu bytes\\n", have == sizeof question ? question[1] : 0, have);
    } else if (!strncmp(line, "answer", 6)) {
      write(client, header, sizeof header);
      write(client, text, sizeof text - 1);
      close(client);
      puts("answered");
    }
  }
  return 0;
}
`;

/** What the stand-in answers. */
export const STAND_IN_TEXT = "=== GPU Health ===\nTemperature:   37\n";

/** Compiles the stand-in, under the name of the real one, and returns its path. */
export function compileStandInMediator(directory: string): string {
  const path = join(directory, "mediator_phase3");
  if (!existsSync(path)) {
    execFileSync("gcc", ["-O1", "-w", "-o", path, "-x", "c", "-"], { input: SOURCE });
  }
  return path;
}

export interface StandInMediator {
  readonly pid: number;
  readonly socket: string;
  readonly log: string;
  /** Gives an order and waits for the line that it is answered with. */
  order(text: string): Promise<string>;
  /** How it ended: a signal's name, or an exit code. */
  readonly ended: Promise<string>;
  readonly isAlive: () => boolean;
  stop(): Promise<void>;
}

/** Starts the stand-in. Its output goes to its log, as a mediator's does, but for what it says to the test. */
export async function startStandInMediator(directory: string, name = "standin"): Promise<StandInMediator> {
  const socket = join(directory, `${name}.sock`);
  const log = join(directory, `${name}.log`);
  const stderr = openSync(log, "a");
  const child: ChildProcess = spawn(compileStandInMediator(directory), [socket, log], {
    stdio: ["pipe", "pipe", stderr],
  });
  const { stdin, stdout, pid } = child;
  if (stdin === null || stdout === null || pid === undefined) throw new Error("the stand-in did not start");
  stdin.on("error", () => {});
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    return done === true ? "" : String(value);
  };
  let alive = true;
  const ended = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => {
      alive = false;
      resolve(signal ?? String(code));
    });
  });
  if ((await next()) !== "ready") throw new Error(`the stand-in did not start: ${await ended}`);
  return {
    pid,
    socket,
    log,
    order: async (text) => {
      stdin.write(`${text}\n`);
      return await next();
    },
    ended,
    isAlive: () => alive,
    stop: async () => {
      stdin.end();
      await ended;
    },
  };
}
