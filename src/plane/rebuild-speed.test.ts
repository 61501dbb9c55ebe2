import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { RebuildSpeed } from "./rebuild-speed.ts";

const MIB = 2 ** 20;

function made(speed: RebuildSpeed, bytesNeeded: number, elapsedMs: number, nowMs: number): void {
  const rest = { bytesSent: 0, bytesSkipped: 0, metadataBytes: 0, share: 1, msLeft: 0 };
  speed.made({ ...rest, bytesNeeded, elapsedMs }, nowMs);
}

test("what was made at the same time has one speed together", () => {
  const speed = new RebuildSpeed();
  for (const nowMs of [10_000, 10_000, 11_000, 11_000]) made(speed, 40 * MIB, 8000, nowMs);
  assert.equal(speed.bytesPerSecond, (160 * MIB) / 9);
});

test("what comes later has a speed of its own, and what is small has none", () => {
  const speed = new RebuildSpeed();
  made(speed, 4096, 1000, 1000);
  assert.equal(speed.bytesPerSecond, undefined);
  made(speed, 100 * MIB, 10_000, 20_000);
  assert.equal(speed.bytesPerSecond, 10 * MIB);
  made(speed, 100 * MIB, 5000, 60_000);
  assert.equal(speed.bytesPerSecond, 20 * MIB);
});
