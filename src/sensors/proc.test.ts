import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  barOfPath,
  belongsToUnit,
  coveringMount,
  parseBootTime,
  parseCgroup,
  parseCmdline,
  parseFlocks,
  parseMaps,
  parseMemlock,
  parseMountinfo,
  parseStat,
  parseStatus,
  unitOf,
} from "./proc.ts";

const bytes = (text: string) => Buffer.from(text);

test("a command's name with spaces and parentheses does not shift the fields of stat", () => {
  const stat = parseStat(bytes(`42 (a) b (c) S 7 42 42 0 -1 4194560 ${"0 ".repeat(12)}987654 0 0 0`));
  assert.deepEqual(stat, { pid: 42, comm: "a) b (c", state: "S", ppid: 7, startTicks: 987654, kernelThread: false });
});

test("a thread of the kernel is told by its flags", () => {
  const kthreadd = parseStat(bytes(`2 (kthreadd) S 0 0 0 0 -1 2129984 ${"0 ".repeat(12)}26 0 0`));
  assert.equal(kthreadd?.kernelThread, true);
});

test("a stat file that is cut is not believed", () => {
  assert.equal(parseStat(bytes("42 (x) S 7 42")), null);
  assert.equal(parseStat(bytes("")), null);
});

const STATUS = `Name:\tollama
State:\tS (sleeping)
Pid:\t5001
PPid:\t1
Uid:\t997\t998\t997\t997
Gid:\t995\t995\t995\t995
Groups:\t44 992 995 
NSpid:\t5001\t17
VmLck:\t  262144 kB
CapEff:\t0000000000204000
NoNewPrivs:\t1
`;

test("status gives effective ids, groups, capabilities and the innermost pid", () => {
  assert.deepEqual(parseStatus(bytes(STATUS)), {
    name: "ollama",
    state: "S",
    ppid: 1,
    uid: 998,
    gid: 995,
    groups: [44, 992, 995],
    capEff: "0000000000204000",
    noNewPrivs: true,
    nsPid: 17,
    lockedKb: 262144,
  });
});

test("a line that status lacks is null and not zero", () => {
  const status = parseStatus(bytes("Name:\tx\nUid:\tbroken\n"));
  assert.equal(status.uid, null);
  assert.equal(status.capEff, null);
  assert.equal(status.noNewPrivs, null);
  assert.equal(status.groups, null);
});

test("the soft limit of locked memory is read in bytes or as unlimited", () => {
  const line = (soft: string) =>
    bytes(`Limit  Soft  Hard  Units\nMax locked memory         ${soft}   unlimited   bytes\n`);
  assert.equal(parseMemlock(line("8388608")), 8388608);
  assert.equal(parseMemlock(line("unlimited")), "unlimited");
  assert.equal(parseMemlock(bytes("Max open files 1 1 files\n")), null);
});

test("maps: deleted files, spaces and newlines in paths, anonymous memory", () => {
  const maps = parseMaps(
    bytes(
      [
        "7f0000000000-7f0000001000 r-xp 00000000 fd:01 131 /opt/my lib/lib x.so",
        "7f0000001000-7f0000002000 r-xp 00000000 fd:01 132 /opt/a\\012b.so (deleted)",
        "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 ",
        "7f0000003000-7f0000004000 rw-p 00000000 00:00 0                          [heap]",
        "7f0000004000-7f0000005000 rw-s 00000000 00:01 5  /dev/zero (deleted)",
        "garbage",
      ].join("\n"),
    ),
  );
  assert.deepEqual(
    maps.map(({ path, deleted, isFile, inode }) => [path, deleted, isFile, inode]),
    [
      ["/opt/my lib/lib x.so", false, true, "fd:01:131"],
      ["/opt/a\nb.so", true, true, "fd:01:132"],
      ["", false, false, "00:00:0"],
      ["[heap]", false, false, "00:00:0"],
      ["/dev/zero", true, true, "00:01:5"],
    ],
  );
});

test("the device and BAR of a mapping come from the resolved sysfs path alone", () => {
  assert.deepEqual(barOfPath("/sys/devices/pci0000:00/0000:00:05.0/resource0"), { bdf: "0000:00:05.0", bar: 0 });
  assert.deepEqual(barOfPath("/sys/devices/pci0000:00/0000:00:01.0/0000:02:00.0/resource1_wc"), {
    bdf: "0000:02:00.0",
    bar: 1,
  });
  assert.equal(barOfPath("/home/x/sys/devices/pci0000:00/0000:00:05.0/resource0"), null);
  assert.equal(barOfPath("/sys/devices/pci0000:00/0000:00:05.0/rom"), null);
});

const MOUNTINFO = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /sys ro,nosuid - sysfs sysfs rw
24 22 254:0 /tmp/systemd-private-abc-ollama.service-x/tmp /tmp rw - ext4 /dev/vda rw
25 22 0:22 / /mnt/with\\040space rw shared:1 master:2 - tmpfs tmpfs ro,size=1k
`;

test("the mount that covers a path is the deepest, and a later one hides an earlier", () => {
  const mounts = parseMountinfo(bytes(MOUNTINFO));
  assert.equal(coveringMount(mounts, "/sys/devices/pci0000:00")?.readOnly, true);
  assert.equal(coveringMount(mounts, "/system")?.point, "/");
  assert.equal(coveringMount(mounts, "/tmp/x")?.root, "/tmp/systemd-private-abc-ollama.service-x/tmp");
  const again = parseMountinfo(bytes(`${MOUNTINFO}26 22 0:21 / /sys rw - sysfs sysfs rw\n`));
  assert.equal(coveringMount(again, "/sys/bus")?.readOnly, false);
});

test("a mount point with a space is decoded, and a read-only file system is read-only", () => {
  const mount = parseMountinfo(bytes(MOUNTINFO)).at(-1);
  assert.deepEqual([mount?.point, mount?.readOnly, mount?.fsType], ["/mnt/with space", true, "tmpfs"]);
});

test("a unit is a whole component of a control group's path, in v1, hybrid and v2", () => {
  const v2 = parseCgroup(bytes("0::/system.slice/ollama.service\n"));
  const v1 = parseCgroup(bytes("4:memory:/\n1:name=systemd:/system.slice/ollama.service\n0::/\n"));
  const below = parseCgroup(bytes("0::/system.slice/ollama.service/runner\n"));
  const other = parseCgroup(bytes("0::/system.slice/my-ollama.service\n"));
  for (const groups of [v2, v1, below]) {
    assert.ok(belongsToUnit(groups, "ollama.service"));
    assert.equal(unitOf(groups, "ollama.service"), "ollama.service");
  }
  assert.ok(!belongsToUnit(other, "ollama.service"));
  assert.equal(unitOf(other, "ollama.service"), "my-ollama.service");
});

test("the unit of a user's process is the innermost service", () => {
  const groups = parseCgroup(bytes("0::/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service\n"));
  assert.equal(unitOf(groups, "ollama.service"), "jupyter.service");
  assert.equal(unitOf(parseCgroup(bytes("0::/user.slice/session-3.scope\n")), "ollama.service"), "session-3.scope");
  assert.equal(unitOf(parseCgroup(bytes("0::/\n")), "ollama.service"), null);
});

test("boot time is in milliseconds", () => {
  assert.equal(parseBootTime(bytes("cpu 1 2\nbtime 1795374144\n")), 1795374144000);
  assert.equal(parseBootTime(bytes("cpu 1 2\n")), null);
});

test("a command line ends with its last word", () => {
  assert.deepEqual(parseCmdline(bytes("/bin/x\0\0a b\0")), ["/bin/x", "", "a b"]);
  assert.deepEqual(parseCmdline(bytes("")), []);
});

test("holders of a lock and those who wait are told apart", () => {
  const locks = parseFlocks(
    bytes(`1: FLOCK  ADVISORY  WRITE 708 08:01:13 0 EOF
1: -> FLOCK  ADVISORY  WRITE 710 08:01:13 0 EOF
2: POSIX  ADVISORY  WRITE 44 fd:01:99 0 EOF
3: FLOCK  ADVISORY  WRITE -1 08:01:14 0 EOF
`),
  );
  assert.deepEqual(locks, [
    { pid: 708, inode: "08:01:13", waiting: false },
    { pid: 710, inode: "08:01:13", waiting: true },
    { pid: -1, inode: "08:01:14", waiting: false },
  ]);
});

test("no parser throws on arbitrary bytes", () => {
  const parsers = [
    parseStat,
    parseStatus,
    parseMemlock,
    parseMaps,
    parseMountinfo,
    parseCgroup,
    parseBootTime,
    parseCmdline,
    parseFlocks,
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (input) => {
      for (const parse of parsers) parse(Buffer.from(input));
    }),
  );
});
