/**
 * A disk that is not there when its host starts: because nobody mounted it, or because it is
 * broken.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";
import { HostRun } from "./host-run.ts";
import { runTool } from "./process.ts";

const isRoot = process.getuid?.() === 0;

interface Devices {
  readonly devices: readonly {
    readonly deviceId: string;
    readonly host: string;
    readonly state: string;
    readonly reason?: string;
  }[];
}

test(
  "no device is made in the mount point of a disk that is not mounted",
  { skip: !isRoot },
  async (t) => {
    const ends: (() => Promise<unknown>)[] = [];
    // Before the folder is deleted, whose own hook comes next.
    t.after(async () => {
      for (const end of ends.toReversed()) await end();
    });
    const folder = temporaryFolder(t);
    const disk = path.join(folder, "disk");
    const image = path.join(folder, "disk.img");
    fs.mkdirSync(disk);
    fs.writeFileSync(image, "");
    fs.truncateSync(image, 2 ** 30);
    await runTool("mkfs.ext4", ["-q", "-m", "0", image]);
    const mount = async (): Promise<void> =>
      void (await runTool("mount", ["-o", "loop", image, disk]));
    await mount();
    ends.push(() => runTool("umount", [disk]));
    const device = path.join(disk, "device");
    const host = await HostRun.configure(t, folder, [device]);
    ends.push(() => host.kill());
    await host.start();
    await host.cli(["volume", "create", "web1", "--size", "64M"]);
    const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
    await runTool("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", uri]);
    assert.equal(await host.stop(), 0);
    await runTool("umount", [disk]);

    const refusal = await host.refusal();
    assert.equal(refusal.code, "device-missing");
    assert.match(refusal.message, new RegExp(`^${disk} is not mounted`));
    fs.mkdirSync(device);
    assert.equal((await host.refusal()).code, "device-missing", "an empty folder is no new disk");
    assert.deepEqual(fs.readdirSync(device), [], "nothing is made there");

    await mount();
    await host.start();
    await runTool("qemu-io", ["-f", "raw", "-c", "read -P 7 0 1M", uri]);
    assert.equal(await host.stop(), 0);
    // Whoever means it says so.
    await runTool("umount", [disk]);
    await host.start(["--wipe", device]);
    assert.equal(await host.stop(), 0);
    await host.start();
    assert.equal(await host.stop(), 0);
    await mount();
  },
);

test("a host whose disk is broken starts without it, however often", async (t) => {
  const folder = temporaryFolder(t);
  const cluster = await ClusterRun.create(path.join(folder, "c"), ["--hosts", "3"]);
  t.after(() => cluster.kill());
  const deviceOf2 = async (): Promise<Devices["devices"][number] | undefined> => {
    const { devices } = await cluster.cli<Devices>(2, ["device", "list"]);
    return devices.find(({ host }) => host === "h2");
  };
  const whole = await deviceOf2();
  await cluster.dev("stop", "h2");
  const journal = path.join(folder, "c", "h2", "device", "journal");
  fs.renameSync(journal, `${journal}.away`);
  for (const start of ["first", "second"]) {
    await cluster.dev("start", "h2");
    const broken = await deviceOf2();
    assert.equal(broken?.state, "failed", start);
    assert.equal(broken?.deviceId, whole?.deviceId);
    assert.match(broken?.reason ?? "", /journal is missing/);
    await cluster.dev("stop", "h2");
  }
  fs.renameSync(`${journal}.away`, journal);
  await cluster.dev("start", "h2");
  assert.equal((await deviceOf2())?.state, "online");
  await cluster.untilWhole(1);
});
