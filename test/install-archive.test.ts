import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Container, startContainer } from "./bench/container.ts";
import { builtPackage } from "./bench/package.ts";
import { ensureContainer } from "./bench/setup.ts";
import {
  agentSaid,
  DEVICES,
  differences,
  enrol,
  everything,
  FILES,
  must,
  property,
  reportInStore,
  takeCheckoutAway,
  UNITS,
} from "./support/installed-agent.ts";

const skip = (await ensureContainer()) ?? false;
const INSTALL = "/opt/unpacked/install.sh";
const SETTINGS = "/etc/vgpu-agent/agent.toml";

describe("the archive's install.sh on a machine with systemd", { skip }, () => {
  let box: Container;
  let untouched: ReadonlySet<string>;

  before(async () => {
    const { archive, deb } = await builtPackage();
    const files = { ...FILES, "/opt/agent.tar.gz": { from: archive }, "/opt/agent.deb": { from: deb } };
    box = await startContainer({ devices: DEVICES, units: UNITS, files });
    await takeCheckoutAway(box);
    // Unpacked by a user: what is installed is root's all the same.
    await must(box, "mkdir /opt/unpacked && tar -xzf /opt/agent.tar.gz -C /opt/unpacked --strip-components=1");
    await must(box, "chown -R ollama:ollama /opt/unpacked");
    untouched = await everything(box);
  });
  after(() => box[Symbol.asyncDispose]());

  it("says what it needs, and changes nothing without it", async () => {
    const asUser = await box.exec(INSTALL, { user: "ollama" });
    assert.deepEqual([asUser.exitCode, asUser.stdout], [1, ""]);
    assert.equal(asUser.stderr, `install.sh: it needs root: sudo ${INSTALL} \n`);
    // Every program that the script may use, but systemctl.
    const path = "mkdir /run/bin; for p in readlink dirname id; do ln -s /usr/bin/$p /run/bin/; done; PATH=/run/bin";
    const withoutSystemd = await box.exec(`${path} /bin/sh ${INSTALL}`);
    assert.equal(withoutSystemd.exitCode, 1);
    assert.equal(withoutSystemd.stderr, "install.sh: it needs systemd, and there is no systemctl\n");
    assert.match((await box.exec(`${INSTALL} --uninstall`)).stderr, /^install\.sh: it is not installed$/m);
    assert.equal((await box.exec(`${INSTALL} --upgrade`)).exitCode, 2);
    assert.match(await must(box, `${INSTALL} --help`), /^Usage: install\.sh /);
    assert.deepEqual(differences(untouched, await everything(box)), []);
  });

  it("installs and starts the agent, whatever root's umask is, and it reports", async () => {
    await must(box, `systemctl start ollama; umask 077; ${INSTALL}`);
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.equal(await property(box, "vgpu-agent", "UnitFileState"), "enabled");
    assert.equal(await must(box, "find /usr/lib/vgpu-agent ! -user root -o ! -perm -004"), "");
    assert.match(await must(box, "setpriv --reuid ollama --regid ollama --clear-groups vgpu-agent --version"), /^\d/);
    await enrol(box);
    await reportInStore(box);
  });

  it("upgrades: keeps settings, enrolment and id, and takes away what the new version has no more", async () => {
    const kept = () => must(box, `cat ${SETTINGS} /etc/vgpu-agent/enrolment /var/lib/vgpu-agent/agent.json`);
    await must(box, `sed -i 's/^#light_seconds = .*/light_seconds = 2/' ${SETTINGS}; systemctl stop vgpu-agent-host`);
    const [pid, before] = [await property(box, "vgpu-agent", "MainPID"), await kept()];
    await must(
      box,
      "cd /opt/unpacked/root/usr && rm lib/vgpu-agent/schema/calls-1.json share/man/man8/vgpu-agent.8.gz",
    );
    await must(box, "echo 99.1.0 >/opt/unpacked/root/usr/lib/vgpu-agent/VERSION");
    assert.match(await must(box, INSTALL), /^vgpu-agent 99\.1\.0 is installed/m);
    assert.equal(await kept(), before);
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.notEqual(await property(box, "vgpu-agent", "MainPID"), pid);
    assert.equal(await property(box, "vgpu-agent-host", "ActiveState"), "inactive");
    await must(
      box,
      "test ! -e /usr/lib/vgpu-agent/schema/calls-1.json && test ! -e /usr/share/man/man8/vgpu-agent.8.gz",
    );
  });

  it("lets no .deb be installed over it", async () => {
    const refused = await box.exec("dpkg -i /opt/agent.deb 2>&1");
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stdout, /installed by install\.sh: run its --uninstall first/);
    await must(box, "dpkg -P vgpu-agent 2>&1");
    assert.equal(await property(box, "vgpu-agent", "ActiveState"), "active", await agentSaid(box));
    assert.match(await must(box, "vgpu-agent --version"), /^\d/);
  });

  it("is removed with its state kept, then purged, and nothing of it is left", async () => {
    await must(box, `systemctl stop ollama; ${INSTALL} --uninstall`);
    assert.equal((await box.exec("pgrep -u vgpu-agent,vgpu-host")).stdout, "");
    await must(box, `test ! -e /usr/bin/vgpu-agent && test -s ${SETTINGS} && test -s /etc/vgpu-agent/enrolment`);
    await must(box, `${INSTALL} --purge`);
    assert.deepEqual(differences(untouched, await everything(box)), []);
  });

  it("leaves a .deb alone", async () => {
    await must(box, "dpkg -i /opt/agent.deb 2>&1");
    const before = await everything(box);
    for (const option of ["", "--uninstall", "--purge"]) {
      const refused = await box.exec(`${INSTALL} ${option}`);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /^install\.sh: vgpu-agent was installed as a Debian package: use apt /);
    }
    assert.deepEqual(differences(before, await everything(box)), []);
  });
});
