/**
 * A real Linux guest on a volume: it makes a file system, counts with fsync, and survives both
 * crashes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TestGuest } from "./guest.ts";
import type { Drive } from "./guest.ts";
import { isLong, startServer } from "./harness.ts";

const VOLUME_BYTES = 4 * 2 ** 30;
const TEST_MS_MAX = 280_000;

/**
 * Boots the counter, kills the guest once it printed `value`, and returns the last line it printed.
 */
async function countTo(drive: Drive, value: number): Promise<TestGuest> {
  const guest = await TestGuest.start({ ...drive, job: "counter" });
  try {
    await guest.waitForCounter(value);
  } finally {
    await guest.kill();
  }
  return guest;
}

async function assertWhole(drive: Drive, counterMin: number): Promise<void> {
  const found = await TestGuest.check(drive);
  assert.equal(found.fsckCode, 0, "e2fsck -n -f found errors");
  assert.ok(found.logIsWhole, "lines are missing in the guest's log");
  assert.ok(found.counter >= counterMin, `printed ${counterMin}, found ${found.counter}`);
  assert.ok(found.logLines >= found.counter, "the log is behind the counter");
}

test(
  "a guest that is killed boots again with a clean file system and counts on",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const server = await startServer(t);
    const drive = await server.volume("guest", VOLUME_BYTES);
    const first = await countTo(drive, 20);
    await first.waitForLine(/^MOUNTED created$/);
    const second = await countTo(drive, first.lastCounter + 10);
    const [, counter] = await second.waitForLine(/^COUNTER-FOUND (\d+)$/);
    assert.ok(Number(counter) >= first.lastCounter, `${first.lastCounter} became ${counter}`);
    await assertWhole(drive, second.lastCounter);
  },
);

test(
  "a guest finds all it fsynced after its host was killed and started again",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const server = await startServer(t);
    const drive = await server.volume("guest", VOLUME_BYTES);
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    await guest.waitForCounter(20);
    await server.kill();
    await guest.kill();
    await server.start();
    await assertWhole(drive, guest.lastCounter);
  },
);

test(
  "a running guest counts on when its host is killed and comes back",
  { timeout: TEST_MS_MAX, skip: !isLong },
  async (t) => {
    const server = await startServer(t);
    const address = await server.volume("guest", VOLUME_BYTES);
    const drive = { ...address, reconnectSeconds: 120 };
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    for (let round = 0; round < 2; round++) {
      const before = await guest.waitForCounter(guest.lastCounter + 10);
      await server.kill();
      await server.start();
      await guest.waitForCounter(before + 10);
    }
    await guest.kill();
    await assertWhole(drive, guest.lastCounter);
  },
);
