import { isAbsolute } from "node:path";
import { z } from "zod";

/**
 * The settings of the guest's service: what `/etc/vgpu-agent/agent.toml` may say, in the file's own names. A unit is in
 * the key's name; what is left out has the default that stands here. `install/agent.toml` is the same for operators, and
 * a test holds the two together. Nothing in it is secret: the token is in the enrolment's own file.
 */

export const SETTINGS_FILE = "/etc/vgpu-agent/agent.toml";

/** A unit with its type: what systemd allows in a name, and nothing that a command could take for an option. */
const UNIT_NAME = /^[\w:.@\\][\w:.@\\-]{0,246}\.[a-z]{1,8}$/;
const CONTROL_CHARACTER = /[\x00-\x1f\x7f]/;
/** PATH_MAX of Linux, with its NUL. */
const MOST_PATH_BYTES = 4095;

const whole = (least: number, most: number, unit: string) => {
  const error = `must be a whole number of ${unit} from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error });
};

const choice = <const Choices extends readonly [string, ...string[]]>(choices: Choices) =>
  z.enum(choices, { error: `must be one of ${choices.map((name) => `"${name}"`).join(", ")}` });

const isPath = (text: string) =>
  isAbsolute(text) && !CONTROL_CHARACTER.test(text) && Buffer.byteLength(text) <= MOST_PATH_BYTES;

const NOT_A_PATH = "must be an absolute path (it begins with /)";
const path = () => z.string({ error: NOT_A_PATH }).refine(isPath, { error: NOT_A_PATH });

const NOT_A_FLAG = "must be true or false, without quotes";
const NOT_A_UNIT = 'must be a unit\'s whole name, such as "ollama.service"';
const NOT_A_PATH_OR_EMPTY = 'must be an absolute path (it begins with /), or "" for none';
const NOT_A_SHARE = "must be a number of percent from 0.5 to 100";

export const settingsSchema = z
  .strictObject({
    /** What is observed. */
    workload: z
      .strictObject({
        /** The systemd unit whose processes use the GPU. */
        unit: z.string({ error: NOT_A_UNIT }).regex(UNIT_NAME, { error: NOT_A_UNIT }).default("ollama.service"),
        /** The file that has the workload's stderr, where the journal does not; "" where it is in the journal. */
        log: z
          .string({ error: NOT_A_PATH_OR_EMPTY })
          .refine((text) => text === "" || isPath(text), { error: NOT_A_PATH_OR_EMPTY })
          .default(""),
      })
      .readonly()
      .prefault({}),
    /** Whom it reports to. */
    host: z
      .strictObject({
        /** Whether to report at all. Without, it observes and keeps what it sees in the spool. */
        enabled: z.boolean({ error: NOT_A_FLAG }).default(true),
        /** The file with address, token and pin that `vgpu-agent enroll` writes. */
        enrolment: path().default("/etc/vgpu-agent/enrolment"),
      })
      .readonly()
      .prefault({}),
    /** How often it looks, cheap things often. The service looks less often while it is above its limits. */
    observe: z
      .strictObject({
        /** Processes, the log, and what else costs next to nothing. */
        light_seconds: whole(1, 60, "seconds").default(5),
        /** The device's registers, except STATUS. Each read is an exit of the VM. */
        device_seconds: whole(1, 3600, "seconds").default(30),
        /** The STATUS register, whose read may write a line on the host (docs/wire.md, "BAR0 registers"). */
        status_seconds: whole(60, 86_400, "seconds").default(300),
        /** Files and their hashes. */
        full_seconds: whole(60, 86_400, "seconds").default(600),
        /** Kernel probes on the shim's code, which count every call. Needs more capabilities: install/systemd/live.conf. */
        live: choice(["off", "on"]).default("off"),
      })
      .readonly()
      .prefault({}),
    /** When a finding becomes a condition that the host is told of, and when it has ended. */
    conditions: z
      .strictObject({
        /** It has held for so long without a break; 0 tells it at once. */
        visible_seconds: whole(0, 3600, "seconds").default(10),
        /** It has recovered for so long without a break; 0 clears it at once. */
        clear_seconds: whole(0, 3600, "seconds").default(30),
      })
      .readonly()
      .prefault({}),
    /** Where it keeps what the host has not acknowledged. */
    spool: z
      .strictObject({
        directory: path().default("/var/lib/vgpu-agent/spool"),
        /** When it is full, the oldest detail is dropped first, and counted. */
        max_mebibytes: whole(1, 4096, "mebibytes").default(64),
      })
      .readonly()
      .prefault({}),
    /** What it may take of the machine. */
    limits: z
      .strictObject({
        /** Resident memory. Above it for a minute it starts anew. The least is what Node needs with room. */
        memory_mebibytes: whole(96, 1024, "mebibytes").default(128),
        /** Of one CPU, over a minute. Above it looks half as often. */
        cpu_percent: z
          .number({ error: NOT_A_SHARE })
          .min(0.5, { error: NOT_A_SHARE })
          .max(100, { error: NOT_A_SHARE })
          .default(5),
        /** Of its own log. What is above is counted and left out. */
        log_lines_per_minute: whole(1, 6000, "lines").default(60),
      })
      .readonly()
      .prefault({}),
    /** Its own log, which goes to the journal. */
    log: z
      .strictObject({ level: choice(["debug", "info", "warn", "error"]).default("info") })
      .readonly()
      .prefault({}),
  })
  .readonly();

export type Settings = z.infer<typeof settingsSchema>;

export const DEFAULT_SETTINGS: Settings = settingsSchema.parse({});
