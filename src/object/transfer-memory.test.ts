import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskMemory } from "../ports/index.ts";
import { TRANSFER_BYTES_MAX, TransferMemory } from "./transfer-memory.ts";

test("more copies than there are pieces wait, in order, and keep no more memory", async () => {
  let allocatedBytes = 0;
  const memory = new TransferMemory((lengthBytes) => {
    allocatedBytes += lengthBytes;
    // What of it is looked at here.
    return { bytes: new Uint8Array(0) } as unknown as DiskMemory;
  });
  const inUse = new Set<DiskMemory>();
  const begun: number[] = [];
  const copies = Array.from({ length: 100 }, (_, number) =>
    memory.use(async (piece) => {
      assert.equal(inUse.has(piece), false);
      inUse.add(piece);
      begun.push(number);
      await Promise.resolve();
      inUse.delete(piece);
      if (number === 50) throw new Error("this one fails");
    }),
  );
  const outcomes = await Promise.allSettled(copies);
  assert.equal(outcomes.filter(({ status }) => status === "rejected").length, 1);
  assert.deepEqual(
    begun,
    [...begun].sort((a, b) => a - b),
  );
  assert.equal(begun.length, 100);
  assert.equal(allocatedBytes, TRANSFER_BYTES_MAX);
  assert.equal(memory.bytes, TRANSFER_BYTES_MAX);
});
