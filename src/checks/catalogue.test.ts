import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { HOPS, RUNGS } from "../protocol/vocabulary.ts";
import { MEDIATOR_CAUSES } from "./catalogue/host.ts";
import { CATALOGUE, type Cause, causeOf, fill, problem, RESERVED, UnknownCause } from "./catalogue.ts";
import { CHECKS } from "./registry.ts";

const PAGES = new URL("../../docs/causes/", import.meta.url);

/** Layers whose ids are given out and that no check can name yet. */
const LAYERS_WITHOUT_CAUSE: Readonly<Record<string, string>> = {
  M: "a wrong answer shows only in a known-answer run, and no check runs anything",
};

const SEVERITIES: readonly string[] = ["fail", "warn", "info"];
const OWNERS: readonly string[] = ["guest operator", "host operator", "workload owner"];

/** Words that change something, wherever they stand in a command; what a command may begin with is READERS. */
const CHANGES =
  /(?<![\w-])(?:p?kill|killall|rm|rmdir|unlink|mv|cp|dd|ln|touch|truncate|restart|reload|stop|start|chmod|chown|chgrp|tee|sysctl|modprobe|reboot|poweroff|setpci|gdb|strace|nvidia-smi|ldd)(?![\w-])|[>|;&`$]/;
/** Reads again what is on disk and ends nothing. */
const ALLOWED_RELOAD = "systemctl daemon-reload";
/** What a remedy may run at all. */
const READERS =
  /^(?:cat|df|grep|ls|sha256sum|stat|coredumpctl info|journalctl|systemctl (?:cat|show|status|daemon-reload)|env -u LD_PRELOAD -u LD_AUDIT vgpu-agent doctor)(?= |$)/;

const PLACEHOLDER = /\{(\w*)\}/g;
/** Speaks of ending what runs. */
const ENDS_A_LOAD = /\brestart|power-cycle|power the VM off/i;
/** Says when that does no harm, or that it must not be done. */
const SAYS_WHEN = /when (?:it is )?idle|when nobody else's load runs|do not restart|ends no load/i;

function layerOf(cause: Cause): string {
  return cause.id.charAt(3);
}

function numberOf(cause: Cause): number {
  return Number(cause.id.slice(4));
}

function placeholdersIn(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)].map((match) => match[1] ?? "");
}

/** Asserts for each cause, so that a failure names the cause. */
function forEachCause(verify: (cause: Cause) => void): void {
  assert.ok(CATALOGUE.length > 0);
  for (const cause of CATALOGUE) verify(cause);
}

test("every id is of the form VG-X00 and is given out once", () => {
  const ids = CATALOGUE.map(({ id }) => id);
  assert.deepEqual(
    ids.filter((id, index) => ids.indexOf(id) !== index),
    [],
  );
  forEachCause(({ id }) => assert.match(id, /^VG-[A-Z]\d\d$/));
});

test("every id lies within what its layer has given out", () => {
  forEachCause((cause) => {
    const count = RESERVED[layerOf(cause)];
    assert.ok(count !== undefined, `${cause.id}: layer ${layerOf(cause)} is not in RESERVED`);
    assert.ok(numberOf(cause) >= 1 && numberOf(cause) <= count, `${cause.id}: 1 to ${count} are given out`);
  });
});

test("a layer without a cause has a reason", () => {
  const used = new Set(CATALOGUE.map(layerOf));
  const unused = Object.keys(RESERVED).filter((layer) => !used.has(layer));
  assert.deepEqual(unused, Object.keys(LAYERS_WITHOUT_CAUSE));
  for (const [layer, count] of Object.entries(RESERVED)) {
    assert.ok(Number.isInteger(count) && count >= 1 && count <= 99, `${layer}: ${count}`);
  }
});

test("titles, messages and remedies are there, and no two causes have one title", () => {
  forEachCause(({ id, title, message, remedy }) => {
    for (const text of [title, message, remedy.text, ...remedy.commands]) {
      assert.ok(text.trim().length > 0, `${id}: an empty text`);
      assert.equal(text, text.trim(), `${id}: space around "${text}"`);
    }
    assert.match(remedy.text, /[.!?]$/, `${id}: the remedy is no sentence`);
    assert.equal(placeholdersIn(title).length + placeholdersIn(remedy.text).length, 0, `${id}: nothing fills these`);
  });
  const titles = CATALOGUE.map(({ title }) => title);
  assert.equal(new Set(titles).size, titles.length);
});

test("hop, severity, owner and cap are words of the vocabulary", () => {
  forEachCause((cause) => {
    assert.ok(HOPS.includes(cause.hop), `${cause.id}: ${cause.hop}`);
    assert.ok(RUNGS.includes(cause.cap), `${cause.id}: ${cause.cap}`);
    assert.ok(SEVERITIES.includes(cause.severity), `${cause.id}: ${cause.severity}`);
    assert.ok(OWNERS.includes(cause.fixedBy), `${cause.id}: ${cause.fixedBy}`);
  });
});

test("a failure holds the rung down, a remark does not", () => {
  forEachCause(({ id, severity, cap }) => {
    if (severity === "fail") assert.notEqual(cap, "correct", `${id} fails and lets every rung stand`);
    if (severity === "info") assert.equal(cap, "correct", `${id} is a remark and holds the rung down`);
  });
});

test("a failure past the device leaves the device discovered, one of the host leaves it connected", () => {
  const atLeast = { mediator: "discovered", executor: "connected", gpu: "connected" } as const;
  forEachCause(({ id, hop, cap }) => {
    if (hop !== "mediator" && hop !== "executor" && hop !== "gpu") return;
    assert.ok(RUNGS.indexOf(cap) >= RUNGS.indexOf(atLeast[hop]), `${id}: the host's fault refutes the guest's set-up`);
  });
});

test("commands have no placeholder that the report cannot fill", () => {
  forEachCause(({ id, remedy }) => {
    for (const command of remedy.commands) {
      for (const name of placeholdersIn(command)) {
        assert.ok(["unit", "bdf"].includes(name), `${id}: {${name}} in "${command}"`);
      }
    }
  });
});

test("no command of a remedy changes, ends or writes anything", () => {
  forEachCause(({ id, remedy }) => {
    for (const command of remedy.commands) {
      assert.match(command, READERS, `${id}: "${command}" is no reading command`);
      if (command !== ALLOWED_RELOAD) assert.doesNotMatch(command, CHANGES, `${id}: "${command}"`);
    }
  });
});

test("the rule about commands refuses what changes a system", () => {
  const refused = [
    "systemctl restart {unit}",
    "systemctl reload {unit}",
    "systemctl stop ollama.service",
    "kill -9 1187",
    "rm /etc/ld.so.preload",
    "chmod 0666 /sys/bus/pci/devices/{bdf}/resource0",
    "cat /proc/locks > /tmp/locks",
    "dmesg | tee out",
    "grep -n vgpu /etc/ld.so.preload; reboot",
  ];
  for (const command of refused) assert.match(command, CHANGES, command);
  for (const command of ["nvidia-smi", "systemctl set-property x", "find / -delete"]) {
    assert.doesNotMatch(command, READERS, command);
  }
});

test("a remedy that ends what runs says when", () => {
  forEachCause(({ id, remedy }) => {
    if (ENDS_A_LOAD.test(remedy.text)) assert.match(remedy.text, SAYS_WHEN, `${id}: "${remedy.text}"`);
  });
});

test("every cause that a check names is in the catalogue", () => {
  for (const check of CHECKS) {
    for (const id of check.causes) assert.equal(causeOf(id).id, id, check.name);
    assert.equal(new Set(check.causes).size, check.causes.length, `${check.name} names a cause twice`);
  }
});

test("every cause of the catalogue is named by a check, of a VM or (src/host/health has a test for these) of the host", () => {
  const named = new Set([...CHECKS.flatMap(({ causes }) => causes), ...MEDIATOR_CAUSES.map(({ id }) => id)]);
  const unnamed = CATALOGUE.filter(({ id }) => !named.has(id)).map(({ id }) => id);
  assert.deepEqual(unnamed, []);
});

test("every cause has its page, whose first line is its id and title, and no page is without a cause", () => {
  const files = readdirSync(PAGES).filter((name) => name !== "README.md");
  assert.deepEqual(files.sort(), CATALOGUE.map(({ id }) => `${id}.md`).sort());
  forEachCause(({ id, title }) => {
    const [first] = readFileSync(new URL(`${id}.md`, PAGES), "utf8").split("\n", 1);
    assert.equal(first, `# ${id} ${title}`);
  });
});

test("every page has the same sections, in the same order", () => {
  const sections = [
    "## What it means",
    "## How vgpu-agent decides",
    "## How to confirm by hand",
    "## What to do",
    "## How to see that it is mended",
  ];
  forEachCause(({ id, fixedBy }) => {
    const text = readFileSync(new URL(`${id}.md`, PAGES), "utf8");
    assert.deepEqual(
      text.split("\n").filter((line) => line.startsWith("## ")),
      sections,
      id,
    );
    const todo = text.slice(text.indexOf("## What to do"), text.indexOf("## How to see"));
    assert.ok(todo.toLowerCase().includes(fixedBy), `${id}: the page does not say that it is for the ${fixedBy}`);
  });
});

test("the index of the pages has one row for each cause, with its title, hop and owner", () => {
  const rows = readFileSync(new URL("README.md", PAGES), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| [VG-"));
  const expected = CATALOGUE.map(
    ({ id, title, hop, fixedBy }) => `| [${id}](${id}.md) | ${title} | ${hop} | ${fixedBy} |`,
  );
  assert.deepEqual(rows.sort(), expected.sort());
});

test("a judgement fills its message and takes the cause's severity unless told otherwise", () => {
  const shown = [{ source: "sysfs", locator: "resource0", text: "0600 0:0", at: null }];
  const values = { who: "user ollama", path: "resource0", why: " (0600)" };
  const judged = problem("VG-B01", values, shown);
  assert.equal(judged.outcome, "fail");
  assert.equal(judged.cause, "VG-B01");
  assert.deepEqual(judged.evidence, shown);
  assert.match(judged.message, /^user ollama may not open resource0 .*\(0600\)/);
  assert.deepEqual(placeholdersIn(judged.message), []);
  assert.equal(problem("VG-B01", values, shown, "warn").outcome, "warn");
});

test("a judgement without a value for a placeholder throws, and so does an unknown cause", () => {
  assert.throws(() => problem("VG-B01", { who: "user ollama", path: "resource0" }, []), /no value for \{why\}/);
  assert.throws(() => problem("VG-B99", {}, []), UnknownCause);
  forEachCause(({ id, message }) => {
    if (placeholdersIn(message).length > 0) assert.throws(() => problem(id, {}, []), /no value for/, id);
    else assert.equal(problem(id, {}, []).message, message);
  });
});

test("a value is put in as it is, even when it looks like a placeholder", () => {
  assert.equal(fill("{a} and {b}", { a: "{b}", b: "$&" }), "{b} and $&");
});
