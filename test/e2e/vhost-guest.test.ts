/** A real Linux guest on a volume over vhost-user. */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { TestGuest } from "./guest.ts";
import type { VhostDrive } from "./guest.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";

const VOLUME_BYTES = 4 * 2 ** 30;
const TEST_MS_MAX = 280_000;

async function attach(host: DevHost, name: string): Promise<VhostDrive> {
  const vhostSocket = path.join(host.folder, `${name}.vhost`);
  await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
  await host.cli(["volume", "attach", name, "--vhost-user", vhostSocket]);
  return { vhostSocket };
}

async function assertWhole(drive: VhostDrive, counterMin: number): Promise<void> {
  const found = await TestGuest.check(drive);
  assert.equal(found.fsckCode, 0, "e2fsck -n -f found errors");
  assert.ok(found.logIsWhole, "lines are missing in the guest's log");
  assert.ok(found.counter >= counterMin, `printed ${counterMin}, found ${found.counter}`);
}

test(
  "a guest on vhost-user makes a file system, and finds it whole after its power failed",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const drive = await attach(host, "guest");
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    await guest.waitForLine(/^MOUNTED created$/);
    await guest.waitForCounter(20);
    await guest.kill();
    await assertWhole(drive, guest.lastCounter);
  },
);

test(
  "a running guest counts on when its host is killed and comes back",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const drive = await attach(host, "guest");
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    await guest.waitForCounter(10);
    for (let round = 0; round < 3; round++) {
      const before = await guest.waitForCounter(guest.lastCounter + 10);
      await host.kill();
      await host.start();
      await guest.waitForCounter(before + 10);
    }
    await guest.kill();
    await assertWhole(drive, guest.lastCounter);
  },
);
