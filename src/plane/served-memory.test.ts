import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskMemory } from "../ports/index.ts";
import { LARGE_READ_BYTES, SERVED_BYTES_MAX, ServedMemory } from "./served-memory.ts";
import { SMALL_READ_BYTES } from "./served-memory.ts";

function memoryOf(): { readonly served: ServedMemory; readonly allocated: () => number } {
  let allocatedBytes = 0;
  const served = new ServedMemory((lengthBytes) => {
    allocatedBytes += lengthBytes;
    // What of it is looked at here.
    return { bytes: new Uint8Array(lengthBytes) } as unknown as DiskMemory;
  });
  return { served, allocated: () => allocatedBytes };
}

test("however much is asked for at once, what stays is bounded", () => {
  const { served, allocated } = memoryOf();
  for (let round = 0; round < 3; round++) {
    const taken: DiskMemory[] = [];
    for (const size of [SMALL_READ_BYTES, LARGE_READ_BYTES])
      while (served.hasRoom(size)) taken.push(served.take(size));
    for (const memory of taken) served.give(memory);
  }
  assert.equal(allocated(), SERVED_BYTES_MAX);
  assert.equal(served.bytes, SERVED_BYTES_MAX);
});

test("whoever waits is told once when something comes back, and small reads have room beside large ones", () => {
  const { served } = memoryOf();
  const taken: DiskMemory[] = [];
  while (served.hasRoom(LARGE_READ_BYTES)) taken.push(served.take(LARGE_READ_BYTES));
  assert.equal(served.hasRoom(SMALL_READ_BYTES), true);
  const told: string[] = [];
  served.onceGiven(() => void told.push("first"));
  served.onceGiven(() => void told.push("second"));
  served.give(taken.pop()!);
  served.give(taken.pop()!);
  assert.deepEqual(told, ["first", "second"]);
});
