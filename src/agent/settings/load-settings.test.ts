import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, lchownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { changedSettings, type LoadOptions, listSettings, loadSettings } from "./load-settings.ts";
import { SETTING_NAMES } from "./parse-settings.ts";
import { problemLine } from "./problem.ts";
import { DEFAULT_SETTINGS, SETTINGS_FILE } from "./settings.ts";
import { MOST_SETTINGS_BYTES } from "./settings-file.ts";

const NOT_ROOT = process.geteuid?.() === 0 ? false : "files of other users need root";
const SOUND = "[observe]\nlight_seconds = 7\n";

describe("the settings' file", () => {
  let dir = "";
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "vgpu-settings-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  /** A file of its own for each test. */
  function put(content: string | Uint8Array, mode = 0o644): string {
    const file = join(mkdtempSync(join(dir, "d-")), "agent.toml");
    writeFileSync(file, content);
    chmodSync(file, mode);
    return file;
  }

  function refusal(file: string, options: LoadOptions = {}): string {
    const loaded = loadSettings({ file, ...options });
    if (loaded.ok) assert.fail("it was not refused");
    assert.equal(loaded.problems.length, 1);
    return loaded.problems.map((problem) => problemLine("a", problem)).join("\n");
  }

  function lightSeconds(file: string, options: LoadOptions = {}): number {
    const loaded = loadSettings({ file, ...options });
    if (!loaded.ok) assert.fail(loaded.problems.map((problem) => problemLine("a", problem)).join("\n"));
    assert.equal(loaded.isThere, true);
    return loaded.settings.observe.light_seconds;
  }

  it("gives its settings, and where each is", () => {
    const file = put(SOUND);
    const loaded = loadSettings({ file });
    assert.ok(loaded.ok);
    assert.equal(loaded.file, file);
    assert.deepEqual(changedSettings(DEFAULT_SETTINGS, loaded.settings), ["observe.light_seconds"]);
    assert.deepEqual([...loaded.origins], [["observe.light_seconds", { line: 2, column: 1 }]]);
  });

  it("may begin with a byte order mark, as some editors write it", () => {
    assert.equal(lightSeconds(put(`\u{feff}${SOUND}`)), 7);
  });

  it("gives the defaults when it is missing and may be, and says so", () => {
    const file = join(dir, "missing.toml");
    const loaded = loadSettings({ file, mayBeAbsent: true });
    assert.ok(loaded.ok);
    assert.equal(loaded.isThere, false);
    assert.equal(loaded.settings, DEFAULT_SETTINGS);
    assert.equal(refusal(file), "a: there is no such file");
  });

  it("is refused above 64 KiB, and read up to it", () => {
    const sized = (size: number) => put(SOUND.padEnd(size, "#"));
    assert.equal(lightSeconds(sized(MOST_SETTINGS_BYTES)), 7);
    assert.match(refusal(sized(MOST_SETTINGS_BYTES + 1)), /larger than 64 KiB/);
    assert.match(refusal(sized(10_000_000)), /larger than 64 KiB/);
  });

  it("is refused when it is no regular file, without waiting for it", () => {
    const pipe = join(dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    assert.equal(refusal(pipe), "a: it is no regular file");
    assert.equal(refusal("/dev/zero"), "a: it is no regular file");
    assert.equal(refusal(dir), "a: it is a directory");
    assert.match(refusal(join(put(SOUND), "below")), /cannot be read: ENOTDIR/);
  });

  it("may be behind one symbolic link, and not behind two", () => {
    const file = put(SOUND);
    const [once, twice, loop, dead] = ["once", "twice", "loop", "dead"].map((name) => join(dir, name));
    assert.ok(once !== undefined && twice !== undefined && loop !== undefined && dead !== undefined);
    symlinkSync(file.slice(dir.length + 1), once);
    symlinkSync("once", twice);
    symlinkSync("loop", loop);
    symlinkSync("nowhere", dead);
    assert.equal(lightSeconds(once), 7);
    assert.match(refusal(twice), /symbolic link to another one, .*once: link to the file itself/);
    assert.match(refusal(loop), /symbolic link to another one/);
    assert.match(refusal(dead, { mayBeAbsent: true }), /symbolic link to .*nowhere, which is not there/);
  });

  it("is refused where it is not UTF-8, with the line", () => {
    assert.equal(refusal(put(Buffer.from("[log]\n# ä \xff\n", "latin1"))), "a:2:3: it is not UTF-8 here");
    assert.equal(
      refusal(put(Buffer.concat([Buffer.from("# ä\n# 😀ö"), Buffer.from([0xc3])]))),
      "a:2:5: it is not UTF-8 here",
    );
  });

  it("is refused where others may write it, with the way out", () => {
    for (const mode of [0o664, 0o646, 0o666, 0o602]) {
      const file = put(SOUND, mode);
      const text = refusal(file, { mustBeTrusted: true });
      assert.ok(text.includes(`mode ${mode.toString(8).padStart(4, "0")}`), text);
      assert.ok(text.endsWith(`chmod go-w ${file}`), text);
      assert.equal(lightSeconds(file, { mustBeTrusted: false }), 7);
    }
    assert.equal(lightSeconds(put(SOUND, 0o600), { mustBeTrusted: true }), 7);
  });

  it("is refused where another user owns it or the link to it", { skip: NOT_ROOT }, () => {
    const file = put(SOUND);
    chownSync(file, 65534, 0);
    assert.match(refusal(file), /user 65534 owns it, and could direct a privileged process with it: chown root /);
    assert.equal(lightSeconds(file, { mustBeTrusted: false }), 7);
    const link = join(dir, "of-nobody");
    symlinkSync(put(SOUND), link);
    lchownSync(link, 65534, 65534);
    assert.match(refusal(link), /user 65534 owns it/);
  });

  it("is not read by whoever may not", { skip: NOT_ROOT }, () => {
    const open = mkdtempSync(join(tmpdir(), "vgpu-settings-"));
    try {
      chmodSync(open, 0o755);
      const file = join(open, "agent.toml");
      writeFileSync(file, SOUND, { mode: 0o600 });
      process.seteuid?.(65534);
      assert.match(refusal(file), /^a: it cannot be read: EACCES/);
    } finally {
      process.seteuid?.(0);
      rmSync(open, { recursive: true });
    }
  });

  it("is settings or problems whatever its bytes are", () => {
    const file = put("");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        writeFileSync(file, bytes);
        const loaded = loadSettings({ file });
        assert.ok(loaded.ok ? loaded.isThere : loaded.problems.length > 0);
      }),
      { numRuns: 500 },
    );
  });

  it("is settings or problems whatever bytes of a sound one are replaced", () => {
    const file = put("");
    const sound = Buffer.from('[workload]\nunit = "ollama.service"\n[observe]\nlight_seconds = 5\n# ä😀\n');
    fc.assert(
      fc.property(fc.nat(sound.length - 1), fc.uint8Array({ minLength: 1, maxLength: 4 }), (at, bytes) => {
        const changed = Buffer.concat([sound.subarray(0, at), bytes, sound.subarray(at + bytes.length)]);
        writeFileSync(file, changed);
        const loaded = loadSettings({ file });
        assert.ok(loaded.ok ? loaded.isThere : loaded.problems.length > 0);
      }),
      { numRuns: 500 },
    );
  });

  it("cut at any byte is settings or problems, never a value that was not written", () => {
    const whole = Buffer.from('[observe]\nlight_seconds = 7\nlive = "on"\n');
    const file = put("");
    for (let length = 0; length <= whole.length; length += 1) {
      writeFileSync(file, whole.subarray(0, length));
      const loaded = loadSettings({ file });
      if (!loaded.ok) continue;
      assert.ok([5, 7].includes(loaded.settings.observe.light_seconds));
      assert.equal(loaded.settings.observe.live, length < whole.length - 1 ? "off" : "on");
    }
  });
});

describe("a list of the settings", () => {
  it("has every name once, in the schema's order", () => {
    assert.deepEqual([...listSettings(DEFAULT_SETTINGS).keys()], SETTING_NAMES);
    assert.equal(new Set(SETTING_NAMES).size, SETTING_NAMES.length);
  });

  it("tells what differs, and nothing where nothing does", () => {
    const other = {
      ...DEFAULT_SETTINGS,
      log: { level: "debug" },
      spool: { ...DEFAULT_SETTINGS.spool, max_mebibytes: 65 },
    } as const;
    assert.deepEqual(changedSettings(DEFAULT_SETTINGS, other), ["spool.max_mebibytes", "log.level"]);
    assert.deepEqual(changedSettings(other, other), []);
  });

  it("is of the installed file where none is named", () => {
    assert.equal(loadSettings().file, SETTINGS_FILE);
  });
});
