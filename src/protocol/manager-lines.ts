import { decimal, type Grammar, textOf, textOrNull } from "./grammar.ts";

const UNIT = /(?<=([\w@:.\\-]{1,128}\.(?:service|scope)): )/.source;
const ofUnit = (text: string): RegExp => new RegExp(UNIT + text, "y");
const doc = "Manager lines";

/**
 * What systemd and journald say of a unit. Believed only from the manager itself: in the journal by its trusted _PID,
 * in a plain file by the manager's prefix.
 */
export const MANAGER_LINES: readonly Grammar[] = [
  {
    id: "unit-started",
    source: "systemd",
    generation: "any",
    markers: ["Started "],
    pattern: /Started (?:([\w@:.\\-]{1,128}\.(?:service|scope)) - )?[^\r\n]{1,200}/y,
    examples: ["Started ollama.service - Ollama Service.", "Started Ollama Service."],
    doc,
    event: (m) => ({ kind: "unit-started", unit: textOrNull(m, 1) }),
  },
  {
    id: "main-exited",
    source: "systemd",
    generation: "any",
    markers: ["Main process exited, "],
    pattern: ofUnit(/Main process exited, code=(\w{1,16}), status=(\d{1,5}(?:\/[\w+-]{1,32})?)/.source),
    examples: [
      "ollama.service: Main process exited, code=exited, status=2/INVALIDARGUMENT",
      "ollama.service: Main process exited, code=dumped, status=11/SEGV",
    ],
    doc,
    event: (m) => ({ kind: "main-exited", unit: textOf(m, 1), code: textOf(m, 2), status: textOf(m, 3) }),
  },
  {
    id: "unit-failed",
    source: "systemd",
    generation: "any",
    markers: ["Failed with result '"],
    pattern: ofUnit(/Failed with result '([a-z-]{1,40})'/.source),
    examples: ["ollama.service: Failed with result 'exit-code'."],
    doc,
    event: (m) => ({ kind: "unit-failed", unit: textOf(m, 1), result: textOf(m, 2) }),
  },
  {
    id: "deactivated",
    source: "systemd",
    generation: "systemd >=246",
    markers: ["Deactivated successfully"],
    pattern: ofUnit(/Deactivated successfully/.source),
    examples: ["ollama.service: Deactivated successfully."],
    doc,
    event: (m) => ({ kind: "deactivated", unit: textOf(m, 1) }),
  },
  {
    id: "deactivated",
    source: "systemd",
    generation: "systemd <246",
    markers: ["Succeeded."],
    pattern: ofUnit(/Succeeded\./.source),
    examples: ["ollama.service: Succeeded."],
    doc,
    event: (m) => ({ kind: "deactivated", unit: textOf(m, 1) }),
  },
  {
    id: "restart-scheduled",
    source: "systemd",
    generation: "any",
    markers: ["Scheduled restart job, restart counter is at "],
    pattern: ofUnit(/Scheduled restart job, restart counter is at (\d{1,9})/.source),
    examples: ["ollama.service: Scheduled restart job, restart counter is at 3."],
    doc,
    event: (m) => ({ kind: "restart-scheduled", unit: textOf(m, 1), counter: decimal(m, 2) }),
  },
  {
    id: "messages-suppressed",
    source: "journald",
    generation: "any",
    markers: ["Suppressed "],
    pattern: /Suppressed (\d{1,12}) messages from ([\w@:.\\/-]{1,128})/y,
    examples: ["Suppressed 10234 messages from ollama.service"],
    doc,
    event: (m) => ({ kind: "messages-suppressed", unit: textOf(m, 2), count: decimal(m, 1) }),
  },
];
