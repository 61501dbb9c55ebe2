/** Devices that a host is given while it runs. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "./harness.ts";
import { HostRun } from "./host-run.ts";

interface Devices {
  readonly devices: readonly {
    readonly deviceId: string;
    readonly path: string;
    readonly state: string;
  }[];
}

test("a device is added to a running host, takes data, and is there after a restart", async (t) => {
  const folder = temporaryFolder(t);
  const host = await HostRun.configure(t, folder, [path.join(folder, "one")]);
  await host.start();
  const two = path.join(folder, "two");
  await assert.rejects(host.cli(["device", "add", two]), /does not exist/, "a mistyped path");
  fs.mkdirSync(two);
  // It has more room than the first one: the next volume goes there.
  const added = await host.cli<{ deviceId: string }>(["device", "add", two, "--size", "1G"]);
  const volume = await host.cli<{ components: readonly { device: string }[] }>([
    ...["volume", "create", "v", "--size", "64M"],
  ]);
  assert.equal(volume.components[0]?.device, added.deviceId);
  await assert.rejects(host.cli(["device", "add", two]), /device-in-use|is in use|locked/);
  await assert.rejects(host.cli(["device", "add", "relative"]), /not an absolute path/);
  const missing = path.join(folder, "no", "where");
  await assert.rejects(host.cli(["device", "add", missing]), /device-missing|does not exist/);
  await host.kill();
  await host.start();
  const { devices } = await host.cli<Devices>(["device", "list"]);
  assert.deepEqual(
    devices.map((device) => [device.path, device.state]),
    [
      [path.join(folder, "one"), "online"],
      [two, "online"],
    ],
  );
  assert.equal(devices[1]?.deviceId, added.deviceId);
  await host.stop();
});
