import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { evidence, info, pass, unknown } from "./finding.ts";

const FILE = "/sys/kernel/security/lockdown";

/** In lockdown the kernel refuses to map PCI resources: discovery works and every call fails. */
export const lockdown: Check = {
  name: "lockdown",
  title: "Does the kernel allow mapping the device?",
  hop: "transport",
  after: ["pci-device"],
  causes: ["VG-B02"],
  judge({ lockdown: reading }) {
    if (reading.state !== "read") return [unknown(`kernel lockdown could not be read: ${reading.detail}`)];
    const { mode, secureBoot } = reading.value;
    if (mode === "integrity" || mode === "confidentiality") {
      return [problem("VG-B02", { what: `kernel lockdown is ${mode}` }, [evidence(FILE, FILE, `[${mode}]`)])];
    }
    if (mode === "absent" && secureBoot === null) {
      return [info("this kernel says nothing of lockdown, and there is no EFI Secure Boot variable")];
    }
    if (mode === "absent" && secureBoot) {
      return [unknown("Secure Boot is on and the kernel has no lockdown file that could be read")];
    }
    return [pass(`lockdown is ${mode === "absent" ? "not built in" : "none"}`, [evidence(FILE, FILE, mode)])];
  },
};
