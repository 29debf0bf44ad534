import type { NotifySocket } from "../../native/notify-socket.ts";

/** What a service manager is told; nothing of it where there is none. */
export interface ServiceManager {
  /** The agent observes. */
  ready(status: string): void;
  /** One line, shown by `systemctl status`. */
  status(text: string): void;
  /** It reads its configuration again, and is ready when that is done. */
  reloading(): void;
  stopping(): void;
  /** Still alive; to be said at least every `watchdogMs`. */
  alive(): void;
  /** Half of what the manager allows between two signs of life, milliseconds; null: it does not watch. */
  readonly watchdogMs: number | null;
  close(): void;
}

/** CLOCK_MONOTONIC in microseconds, which RELOADING=1 has to be sent with. */
const monotonicMicroseconds = (): bigint => process.hrtime.bigint() / 1000n;

/**
 * Tells systemd through $NOTIFY_SOCKET (sd_notify(3)). What cannot be sent is lost: a service must not end because its
 * manager does not listen, and systemd ends one that does not show signs of life.
 */
export async function connectServiceManager(env: NodeJS.ProcessEnv = process.env): Promise<ServiceManager> {
  const name = env["NOTIFY_SOCKET"];
  const socket = name === undefined || name === "" ? null : await open(name);
  const send = (text: string): void => {
    try {
      socket?.send(text);
    } catch {
      // See above.
    }
  };
  return {
    ready: (status) => send(`READY=1\nSTATUS=${oneLine(status)}`),
    status: (text) => send(`STATUS=${oneLine(text)}`),
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${monotonicMicroseconds()}`),
    stopping: () => send("STOPPING=1"),
    alive: () => send("WATCHDOG=1"),
    watchdogMs: socket === null ? null : watchdogOf(env),
    close: () => socket?.close(),
  };
}

async function open(name: string): Promise<NotifySocket | null> {
  // Without a service manager the library for system calls need not be loaded.
  const { openNotifySocket } = await import("../../native/notify-socket.ts");
  try {
    return openNotifySocket(name);
  } catch {
    return null;
  }
}

/** Half of $WATCHDOG_USEC, where it is meant for this process. */
function watchdogOf(env: NodeJS.ProcessEnv): number | null {
  const pid = env["WATCHDOG_PID"];
  const milliseconds = Number(env["WATCHDOG_USEC"]) / 1000;
  if (pid !== undefined && pid !== String(process.pid)) return null;
  return Number.isFinite(milliseconds) && milliseconds >= 2 ? milliseconds / 2 : null;
}

/** A line break would be a second assignment, which text from a log must not make. */
const oneLine = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, " ").slice(0, 300);
