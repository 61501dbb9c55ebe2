import assert from "node:assert/strict";
import { test } from "node:test";
import { PAYLOAD_BYTES_MAX, PAYLOADS_KEPT_BYTES_MAX, PayloadPool } from "./payload-pool.ts";

test("many volumes that were busy keep as much memory as one", () => {
  const volumes = Array.from({ length: 8 }, () => new PayloadPool());
  const count = PAYLOADS_KEPT_BYTES_MAX / PAYLOAD_BYTES_MAX;
  const buffers = volumes.map((volume) =>
    Array.from({ length: count }, () => volume.take(PAYLOAD_BYTES_MAX)),
  );
  volumes.forEach((volume, index) => {
    assert.equal(volume.heldBytes, PAYLOADS_KEPT_BYTES_MAX);
    for (const buffer of buffers[index]!) volume.give(buffer);
    assert.equal(volume.heldBytes, 0);
  });
  const known = new Set(buffers.flat());
  const again = volumes.flatMap((volume) =>
    Array.from({ length: count }, () => volume.take(PAYLOAD_BYTES_MAX)),
  );
  assert.equal(again.filter((buffer) => known.has(buffer)).length, count);
  assert.equal(new Set(again).size, again.length);
});
