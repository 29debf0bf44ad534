import { ollamaUnit } from "../bench/payload.ts";
import { HEALTHY_CONNECTED, HEALTHY_IDLE, type Scenario, type Truth } from "./scenario.ts";

/**
 * A situation of a running VM that is judged three times: by the doctor in the VM, and elsewhere from a capture of it
 * and from its journal alone. `truth` is what the first two have to say.
 */
export interface CaptureScenario extends Scenario {
  /** Bash, as root; what it leaves stays for the situations after it. */
  readonly setUp: string;
  /** What the journal alone can know; null: too little for a verdict. */
  readonly byJournal: Truth | null;
}

const SYSFS = "/sys/bus/pci/devices/0000:00:05.0";
const said = (words: string) =>
  `timeout 30 grep -qm1 '${words}' < <(journalctl -f -n all -u ollama _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ollama))`;
/** The server makes the pipe; writing to it earlier would make a file of its name. */
const restartWithModel =
  "systemctl restart ollama; until [ -p /run/ollama/control ]; do sleep 0.1; done; echo load >/run/ollama/control";

/** Two processes use the same unit: the server, and the runner that it starts when told to load. */
export const CAPTURED_UNIT = ollamaUnit(["LimitCORE=0"]);

export const CAPTURES: readonly CaptureScenario[] = [
  {
    name: "idle",
    story: "The server found the GPU and nothing is loaded; its journal has no line of a shim.",
    truth: HEALTHY_IDLE,
    byJournal: null,
    setUp: `chmod 666 ${SYSFS}/resource0 ${SYSFS}/resource1; systemctl start ollama; ${said("inference compute")}`,
  },
  {
    name: "connected",
    story: "A model is loaded and its calls are answered.",
    truth: HEALTHY_CONNECTED,
    byJournal: HEALTHY_CONNECTED,
    setUp: `echo load >/run/ollama/control; ${said("llama runner started")}`,
  },
  {
    name: "crashed",
    story: "The runner, in which the shim runs, is ended by SIGSEGV. Calls were answered before, no error was met.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L06", exitCode: 3 },
    byJournal: { rung: "unconfigured", hop: "shim", cause: "VG-L06", exitCode: 3 },
    setUp: `pkill -SEGV -f 'runner .*--model'; ${said("error loading llama server")}`,
  },
  {
    name: "closed",
    story: "resource0 has the kernel's own mode: the runner cannot open it. The earlier life of the server is healthy.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B01", exitCode: 3 },
    byJournal: { rung: "unconfigured", hop: "transport", cause: "VG-B01", exitCode: 3 },
    setUp: `chmod 600 ${SYSFS}/resource0; ${restartWithModel}; ${said("error loading llama server")}`,
  },
  {
    name: "removed",
    story:
      "A new runner worked, and then the device was taken off the bus. The shim has not noticed: no line tells of it.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P01", exitCode: 3 },
    byJournal: HEALTHY_CONNECTED,
    setUp: `chmod 666 ${SYSFS}/resource0; ${restartWithModel}; ${said("llama runner started")}; echo 1 >${SYSFS}/remove`,
  },
];
