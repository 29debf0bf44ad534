import { readEnrolment, writeEnrolment } from "../agent/settings/enrolment-file.ts";
import type { ClockOffset } from "../agent/uplink/clock.ts";
import { HostClient } from "../agent/uplink/host-client.ts";
import { HostRefused, HostUnreachable, isHostError } from "../agent/uplink/host-errors.ts";
import { errnoOf } from "../facts/reading.ts";
import { visible } from "../report/text.ts";
import { type Enrolment, InvalidEnrolment, parseEnrolment } from "../report/wire/enrolment-string.ts";
import { PinMismatch } from "../report/wire/pinned-agent.ts";
import { type EnrolmentPlace, enrolmentPlace } from "./enrolment-place.ts";

/** `vgpu-agent enroll`: the only command of the doctor's kind that writes; it writes one file. */

export interface EnrollOptions {
  /** What the host's operator handed over. */
  readonly word: string;
  /** Where it is kept; null: where the service and the doctor look for it, by the settings. */
  readonly file: string | null;
  /** The file of the settings; null: the installed one. */
  readonly config: string | null;
  /** Take the place of the enrolment with another host, or of one that cannot be read. */
  readonly force: boolean;
  /** Do not ask the host. */
  readonly offline: boolean;
}

/** It was not enrolled: the text says why and what to do. Nothing was written. */
export class CannotEnroll extends Error {}

/** Gives what was done, for people. Throws CannotEnroll. */
export async function enroll({ word, file, config, force, offline }: EnrollOptions): Promise<string> {
  const enrolment = parsed(word);
  const { path, offAt } = file === null ? await placeOf(config) : { path: file, offAt: null };
  if (!force) await assertReplaceable(path, enrolment);
  const said = offline
    ? "The host was not asked (--offline): whether it takes the token shows at the first report."
    : greetingOf(await greet(enrolment));
  try {
    await writeEnrolment(path, enrolment);
  } catch (error) {
    throw new CannotEnroll(`${path} cannot be written (${errnoOf(error) ?? String(error)}): run this as root`);
  }
  const { vm, url } = enrolment;
  const off =
    offAt === null
      ? ""
      : `host.enabled is false (${visible(offAt)}): neither the service nor the doctor asks this host by itself.\n`;
  return (
    `Wrote ${visible(path)} (mode 0600: it has the token).\n` +
    `This machine is VM ${vm} and reports to ${visible(url)}.\n${said}\n${off}` +
    `Next: vgpu-agent doctor${file === null ? "" : ` --enrolment ${visible(file)}`}${config === null ? "" : ` --config ${visible(config)}`}\n`
  );
}

async function placeOf(config: string | null): Promise<EnrolmentPlace> {
  const place = await enrolmentPlace(config);
  if (!("state" in place)) return place;
  throw new CannotEnroll(`${visible(place.detail)}. Nothing was written`);
}

function parsed(word: string): Enrolment {
  try {
    return parseEnrolment(word);
  } catch (error) {
    if (error instanceof InvalidEnrolment) throw new CannotEnroll(error.message);
    throw error;
  }
}

/** A new token of the same VM and host takes the old one's place; anything else might be a mistake. */
async function assertReplaceable(path: string, fresh: Enrolment): Promise<void> {
  const there = await readEnrolment(path);
  if (there.state === "absent") return;
  if (there.state !== "read") throw new CannotEnroll(`${there.detail ?? path}; --force takes its place`);
  const { url, vm, pin } = there.value;
  if (url === fresh.url && vm === fresh.vm && pin === fresh.pin) return;
  const what = pin === fresh.pin && url === fresh.url ? "another VM of that host" : "another host";
  throw new CannotEnroll(
    `this machine is enrolled already, as VM ${vm} of ${url}, and the word is of ${what} (VM ${fresh.vm} of ${fresh.url}): --force replaces it`,
  );
}

/** The host takes the token, and for this VM. Throws CannotEnroll. */
async function greet(enrolment: Enrolment): Promise<ClockOffset | null> {
  const client = new HostClient(enrolment, { connectMs: 5000, answerMs: 10_000 });
  try {
    const offset = await client.clockOffset();
    await client.verdict({ window: null, waitSeconds: 0 });
    return offset;
  } catch (error) {
    throw isHostError(error) ? new CannotEnroll(`${visible(wordsOf(error))}. Nothing was written`) : error;
  } finally {
    client.close();
  }
}

function wordsOf(error: Error): string {
  if (error instanceof HostRefused && error.isAboutToken) {
    return "the host does not take this token: it was revoked, has expired, or is of another host. `vgpu-agent host enroll` there makes a new one";
  }
  if (error instanceof PinMismatch) return `${error.message}: ask its operator for a new word`;
  if (error instanceof HostUnreachable) {
    return `the host cannot be reached: ${error.message}. Is it running, is the address right as seen from this VM, is the port open? --offline writes the file all the same`;
  }
  return error.message;
}

function greetingOf(offset: ClockOffset | null): string {
  if (offset === null) return "The host takes the token.";
  const { offsetMs, errorMs } = offset;
  const ms = (value: number) => (value < 10_000 ? `${Math.round(value)} ms` : `${Math.round(value / 1000)} s`);
  const apart = Math.abs(offsetMs);
  const clock =
    apart <= errorMs ? "agrees with this one" : `is ${ms(apart)} ${offsetMs > 0 ? "behind" : "ahead of"} this one`;
  return `The host takes the token; its clock ${clock} (to within ${ms(errorMs)}).`;
}
