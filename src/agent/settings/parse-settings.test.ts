import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ParsedSettings, parseSettings, SETTING_NAMES } from "./parse-settings.ts";
import { type ProblemKind, problemLine } from "./problem.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

/** The problems as they are printed. */
function complaints(text: string): string[] {
  const parsed = parseSettings(text);
  return parsed.ok ? [] : parsed.problems.map((problem) => problemLine("a", problem));
}

/** The one problem of a text. */
function only(text: string): string {
  const lines = complaints(text);
  assert.equal(lines.length, 1, lines.join("\n"));
  return lines[0] ?? "";
}

function kindsOf(parsed: ParsedSettings): ProblemKind[] {
  return parsed.ok ? [] : parsed.problems.map(({ kind }) => kind);
}

function settingsOf(text: string) {
  const parsed = parseSettings(text);
  if (!parsed.ok) assert.fail(complaints(text).join("\n"));
  return parsed;
}

describe("settings", () => {
  it("are the defaults where nothing is set", () => {
    for (const text of ["", "\n", "# nothing", "[observe]\n[log]\n"]) {
      assert.deepEqual(settingsOf(text).settings, DEFAULT_SETTINGS);
    }
  });

  it("say where each that is set was set, however it is written", () => {
    const { settings, origins } = settingsOf(
      'log.level = "debug"\nspool = { directory = "/var/spool/a", max_mebibytes = 1 }\n\n[observe]\n  "live" = "on"\r\nlight_seconds=0x05\n',
    );
    assert.equal(settings.log.level, "debug");
    assert.deepEqual(settings.spool, { directory: "/var/spool/a", max_mebibytes: 1 });
    assert.equal(settings.observe.live, "on");
    assert.equal(settings.observe.light_seconds, 5);
    assert.equal(settings.observe.full_seconds, DEFAULT_SETTINGS.observe.full_seconds);
    assert.deepEqual(Object.fromEntries(origins), {
      "log.level": { line: 1, column: 1 },
      "spool.directory": { line: 2, column: 11 },
      "spool.max_mebibytes": { line: 2, column: 39 },
      "observe.live": { line: 5, column: 3 },
      "observe.light_seconds": { line: 6, column: 1 },
    });
  });

  it("cannot be changed by who has them", () => {
    const { settings } = settingsOf("[observe]\nlight_seconds = 7\n");
    assert.ok(Object.isFrozen(settings.observe));
    assert.ok(Object.isFrozen(DEFAULT_SETTINGS.log));
    assert.ok(Object.isFrozen(settings));
  });
});

describe("a mistake of syntax", () => {
  it("has its line and column", () => {
    assert.equal(only("[observe]\nlight_seconds 5\n"), "a:2:15: no TOML: Expected equal (=) token");
    assert.match(only('# ä\n[log]\nlevel = "info\n'), /^a:3:14: no TOML: Unterminated string/);
    assert.match(only("[observe]\nlive = on\n"), /^a:2:8: no TOML: .* \(text has to be in quotes\)$/);
    assert.match(only("[observe\n"), /^a:1:9: no TOML/);
    assert.match(only("[observe\n[log]\n"), /^a:1:9: no TOML/);
    assert.match(only("[log]\r\n= 1\r\n"), /^a:2:1: no TOML/);
  });

  it("is of the line that lacks something, not of the next one, where that shows", () => {
    assert.match(only("[log]\nlevel =\n\n# x\n[observe]\n"), /^a:2:8: no TOML: .* \(a value is missing\)$/);
    assert.match(
      only("[observe]\r\nlive =  # on\r\nlight_seconds = 5\r\n"),
      /^a:2:7: no TOML: .* \(a value is missing\)$/,
    );
    assert.match(only("[log]\nlevel\n[observe]\n"), /^a:2:6: no TOML/);
    assert.match(only("[log]\nlevel = 'info'\n= 5\n"), /^a:3:1: no TOML/);
  });

  it("may be a unit behind a number: keys have theirs in their names", () => {
    assert.match(
      only("[observe]\nlight_seconds = 5s\n"),
      /^a:2:18: no TOML: .* \(a number has no unit: the key's name says it\)$/,
    );
  });

  it("has its column in characters, not in bytes or halves of characters", () => {
    assert.match(only('[log]\nlevel = "ä😀" x\n'), /^a:2:14: no TOML/);
  });

  it("is a key or a table that is there twice", () => {
    assert.match(only("[observe]\nlight_seconds = 5\nlight_seconds = 6\n"), /^a:3:1: no TOML: .*multiple times/);
    assert.match(only("[observe]\n[log]\n[observe]\n"), /^a:3:2: no TOML: .*multiple times/);
    assert.match(only('log.level = "info"\nlog = {}\n'), /^a:2:1: no TOML: .*multiple times/);
  });

  it("is a carriage return that ends no line", () => {
    assert.match(only('[log]\nlevel = """a\rb"""\n'), /^a:2:13: a carriage return/);
    assert.match(only("[log]\r[log]\r"), /^a:1:6: a carriage return/);
  });

  it("is what TOML 1.1 alone allows", () => {
    assert.match(only('log = { level = "info",\n }\n'), /^a:\d:\d+: no TOML/);
  });

  it("is nesting without end, at about the place where it begins", () => {
    assert.match(
      only(`\na = ${"[".repeat(30_000)}${"]".repeat(30_000)}`),
      /^a:2:\d+: no settings: it is nested too deeply$/,
    );
    assert.match(only(`\n\n[a${".b".repeat(30_000)}]`), /^a:3:2: \[a\]: unknown table/);
  });
});

describe("an unknown key", () => {
  it("has its line and column, and the nearest known one", () => {
    assert.equal(
      only("\n[observe]\n  light_second = 5\n"),
      "a:3:3: [observe] light_second: unknown key, did you mean light_seconds?",
    );
  });

  it("is an error where nothing is near, with what there is", () => {
    assert.equal(
      only("[conditions]\nx = 5\n"),
      "a:2:1: [conditions] x: unknown key, [conditions] has visible_seconds, clear_seconds",
    );
  });

  it("is sent to the table that has it", () => {
    assert.equal(
      only("[observe]\ncpu_percent = 5\n"),
      "a:2:1: [observe] cpu_percent: unknown key, it belongs in [limits]",
    );
    assert.equal(only("cpu_percent = 5\n"), "a:1:1: cpu_percent: unknown key, it belongs in [limits]");
    assert.equal(only("cpu_precent = 5\n"), "a:1:1: cpu_precent: unknown key, did you mean cpu_percent in [limits]?");
    assert.match(only("zzz = 5\n"), /^a:1:1: zzz: unknown key, all keys are in tables: \[workload\] /);
  });

  it("may be one of every object's in JavaScript", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      assert.match(only(`[log]\n${name} = 1\n`), /^a:2:1: \[log\] \w+: unknown key/);
      assert.match(only(`${name} = 1\n`), /^a:1:1: \w+: unknown key/);
      assert.match(only(`[${name}]\npolluted = 1\n`), /^a:1:2: \[\w+\]: unknown table/);
      assert.match(only(`[log.${name}]\npolluted = 1\n`), /^a:2:|^a:1:2: \[log\] \w+: unknown key/);
    }
    assert.equal(Reflect.get({}, "polluted"), undefined);
  });

  it("cannot write to the terminal", () => {
    assert.equal(
      only('[log]\n"\\u001b[31m\\u202e" = 1\n'),
      'a:2:1: [log] "\\x1b[31m\\u{202e}": unknown key, [log] has level',
    );
    assert.ok(only(`["${"x".repeat(50_000)}"]\n`).length < 200);
  });
});

describe("an unknown table", () => {
  it("is told once, wherever it is first named", () => {
    assert.equal(
      only("\n[observ]\nlight_seconds = 5\nlive = 'on'\n"),
      "a:2:2: [observ]: unknown table, did you mean [observe]?",
    );
    assert.equal(only("limit.cpu_percent = 5\nlimit.x = 6\n"), "a:1:1: [limit]: unknown table, did you mean [limits]?");
    assert.equal(only("\nspol = { max_mebibytes = 5 }\n"), "a:2:1: [spol]: unknown table, did you mean [spool]?");
    assert.match(only("[a.b.c]\nd = 1\n[a]\n"), /^a:1:2: \[a\]: unknown table, there are workload, host, /);
  });

  it("may have no name", () => {
    assert.match(only('[""]\n'), /^a:1:2: \[""\]: unknown table/);
  });
});

describe("a wrong value", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["observe.light_seconds = 0", "must be a whole number of seconds from 1 to 60, not 0"],
    ["observe.light_seconds = 61", "must be a whole number of seconds from 1 to 60, not 61"],
    ["observe.light_seconds = 1.5", "must be a whole number of seconds from 1 to 60, not 1.5"],
    ['observe.light_seconds = "5s"', 'must be a whole number of seconds from 1 to 60, not "5s"'],
    ["observe.light_seconds = true", "must be a whole number of seconds from 1 to 60, not true"],
    ["observe.light_seconds = nan", "must be a whole number of seconds from 1 to 60, not nan"],
    [
      "observe.light_seconds = 99999999999999999999",
      "must be a whole number of seconds from 1 to 60, not 99999999999999999999",
    ],
    ["observe.light_seconds = [5]", "must be a whole number of seconds from 1 to 60, not [5]"],
    ["observe.light_seconds = {a = 5}", "must be a whole number of seconds from 1 to 60, not {a = 5}"],
    ["observe.light_seconds = 2026-01-01", "must be a whole number of seconds from 1 to 60, not 2026-01-01"],
    ["observe.device_seconds = 0", "must be a whole number of seconds from 1 to 3600, not 0"],
    ["observe.status_seconds = 59", "must be a whole number of seconds from 60 to 86400, not 59"],
    ["observe.full_seconds = 59", "must be a whole number of seconds from 60 to 86400, not 59"],
    ["observe.live = true", 'must be one of "off", "on", not true'],
    ["conditions.visible_seconds = -1", "must be a whole number of seconds from 0 to 3600, not -1"],
    ["conditions.clear_seconds = 3601", "must be a whole number of seconds from 0 to 3600, not 3601"],
    ["spool.max_mebibytes = 0", "must be a whole number of mebibytes from 1 to 4096, not 0"],
    ['spool.directory = "spool"', 'must be an absolute path (it begins with /), not "spool"'],
    ['spool.directory = ""', 'must be an absolute path (it begins with /), not ""'],
    ['spool.directory = "/a\\u0000b"', 'must be an absolute path (it begins with /), not "/a\\u0000b"'],
    ["spool.directory = 5", "must be an absolute path (it begins with /), not 5"],
    ['host.enrolment = "./x"', 'must be an absolute path (it begins with /), not "./x"'],
    ['host.enabled = "true"', 'must be true or false, without quotes, not "true"'],
    ['workload.log = "x.log"', 'must be an absolute path (it begins with /), or "" for none, not "x.log"'],
    ["workload.log = false", 'must be an absolute path (it begins with /), or "" for none, not false'],
    ['workload.unit = "ollama"', 'must be a unit\'s whole name, such as "ollama.service", not "ollama"'],
    ['workload.unit = "--x.service"', 'must be a unit\'s whole name, such as "ollama.service", not "--x.service"'],
    ["limits.memory_mebibytes = 95", "must be a whole number of mebibytes from 96 to 1024, not 95"],
    ["limits.cpu_percent = 0", "must be a number of percent from 0.5 to 100, not 0"],
    ["limits.cpu_percent = inf", "must be a number of percent from 0.5 to 100, not inf"],
    ["limits.log_lines_per_minute = 0", "must be a whole number of lines from 1 to 6000, not 0"],
    ['log.level = "trace"', 'must be one of "debug", "info", "warn", "error", not "trace"'],
  ];
  for (const [assignment, message] of cases) {
    it(`is ${assignment}`, () => {
      const [name = ""] = assignment.split(" = ");
      const [table = "", key = ""] = name.split(".");
      const written = assignment.slice(table.length + 1);
      const column = key.length + 4;
      assert.equal(only(`\n[${table}]\n${written}\n`), `a:3:${column}: [${table}] ${key}: ${message}`);
      assert.deepEqual(kindsOf(parseSettings(assignment)), ["value"]);
    });
  }

  it("can be there for every key", () => {
    const tried = new Set(cases.map(([assignment]) => assignment.split(" = ")[0]));
    assert.deepEqual(
      [...SETTING_NAMES].filter((name) => !tried.has(name)),
      [],
    );
  });

  it("may be a table in the place of a key, or a key in the place of a table", () => {
    assert.equal(only("[log.level]\na = 1\nb = 2\n"), "a:1:2: [log] level: it is a value, not a table");
    assert.equal(only("[log]\nlevel.a = 1\n"), "a:2:1: [log] level: it is a value, not a table");
    assert.match(only("log = 'info'\n"), /^a:1:1: \[log\]: it is a table: write \[log\] on a line of its own/);
    assert.match(only("[[log]]\n"), /^a:1:3: \[log\]: there is one such table: write \[log\], not \[\[log\]\]$/);
  });

  it("is cut where it is long, and shown on one line", () => {
    const line = only(`[log]\nlevel = """\n${"\u001b[31m\n".replace("\u001b", "\\u001b").repeat(500)}"""\n`);
    assert.ok(line.length < 160, line);
    assert.ok(line.includes('"""\\n'), line);
  });
});

describe("many mistakes", () => {
  it("are told all, in the file's order", () => {
    const text = '[log]\nlevel = 1\nx = 2\n[observ]\n[observe]\nlive = 3\n[spool]\ndirectory = "a"\n';
    assert.deepEqual(
      complaints(text).map((line) => line.split(" ")[0]),
      ["a:2:9:", "a:3:1:", "a:4:2:", "a:6:8:", "a:8:13:"],
    );
  });

  it("are counted where nobody would read them all", () => {
    const lines = complaints(Array.from({ length: 5000 }, (_, i) => `k${i} = 1\n`).join(""));
    assert.equal(lines.length, 101);
    assert.equal(lines[100], "a: and 4900 more problems");
  });
});

describe("any text", () => {
  const PIECES = [
    "[observe]",
    "[log]",
    "[[spool]]",
    "observe.",
    "light_seconds",
    "level",
    "=",
    " = ",
    "5",
    "-0",
    "1e9",
    "0x",
    '"info"',
    '"""',
    "'''",
    "'",
    '"',
    "\\u",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\r\n",
    "\r",
    "#",
    ".",
    "true",
    "inf",
    "2026-01-01T00:00:00Z",
    "__proto__",
    "\u0000",
    "\u{feff}",
    "\u{1f600}",
    "\u{d800}",
    "_",
  ];

  /** Settings that hold, or at least one problem whose place is in the text. */
  const holds = (text: string) => {
    const parsed = parseSettings(text);
    if (parsed.ok) {
      assert.ok(parsed.settings.observe.light_seconds >= 1);
      return;
    }
    assert.ok(parsed.problems.length > 0);
    const lines = text.split("\n");
    for (const { at, kind, message } of parsed.problems) {
      assert.ok(!message.startsWith("cannot be read"), `${message}: ${JSON.stringify(text)}`);
      if (at === null) {
        assert.equal(kind, "more");
        continue;
      }
      const line = lines[at.line - 1];
      assert.ok(
        line !== undefined && at.column >= 1 && at.column <= [...line].length + 1,
        JSON.stringify({ at, text }),
      );
    }
  };

  it("of TOML's pieces has settings or problems, and their places exist", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }), (pieces) => holds(pieces.join(""))),
      { numRuns: 3000 },
    );
  });

  it("of any characters has settings or problems", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), holds), { numRuns: 1000 });
  });

  it("that was sound and then changed in a place has settings or problems", () => {
    const sound =
      '# x\n[workload]\nunit = "ollama.service"\n[observe]\nlight_seconds = 5 # y\nlive = "off"\n[limits]\ncpu_percent = 2.5\n';
    fc.assert(
      fc.property(fc.nat(sound.length), fc.nat(12), fc.constantFrom(...PIECES, ""), (at, gone, piece) =>
        holds(sound.slice(0, at) + piece + sound.slice(at + gone)),
      ),
      { numRuns: 3000 },
    );
  });

  it("of full size takes no more than a moment, however it is made", () => {
    const size = 64 * 1024;
    for (const piece of [
      "a=1\n",
      "[a]\n",
      "[[a]]\n",
      "a.",
      "[",
      "{",
      "'",
      '"',
      "#\n",
      "\n",
      "log.x.y=1\n",
      "[log.level]\n",
      "9",
      "[observe.x]\na=1\n",
    ]) {
      const started = performance.now();
      holds(piece.repeat(size / piece.length));
      assert.ok(performance.now() - started < 5000, piece);
    }
    const started = performance.now();
    holds(`x${" ".repeat(size - 3)}\n=`);
    holds(`x = ${" =\t".repeat(size / 3 - 3)}\n=`);
    holds(Array.from({ length: 4000 }, (_, i) => `log.k${i}.x=1\n`).join(""));
    holds(`log={${Array.from({ length: 6000 }, (_, i) => `k${i}=1`).join(",")}}`);
    assert.ok(performance.now() - started < 5000);
  });
});
