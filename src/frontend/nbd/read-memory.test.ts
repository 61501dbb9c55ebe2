import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { PAGE_BYTES, READ_MEMORY_BYTES, READ_PIECE_BYTES_MAX, ReadMemory } from "./read-memory.ts";

function newMemory(): ReadMemory {
  const bytes = new Uint8Array(READ_MEMORY_BYTES);
  return new ReadMemory({ bytes, handle: { address: 0, lengthBytes: bytes.length } });
}

test("blocks in use never overlap, header page included, whatever is taken and released", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("take" as const), sectors: fc.integer({ min: 1, max: 2048 }) }),
    fc.record({ kind: fc.constant("take" as const), sectors: fc.constant(8) }),
    fc.record({ kind: fc.constant("release" as const), which: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const memory = newMemory();
      const used: { page: number; end: number }[] = [];
      for (const action of steps) {
        if (action.kind === "release") {
          const [block] = used.splice(action.which % Math.max(1, used.length), 1);
          if (block !== undefined) memory.release(block.page);
          continue;
        }
        const page = memory.take(action.sectors * 512);
        if (page < 0) continue;
        const block = { page, end: memory.dataAt(page) + action.sectors * 512 };
        for (const other of used) {
          const isApart = block.end <= other.page * PAGE_BYTES || other.end <= page * PAGE_BYTES;
          assert(isApart, "two blocks overlap");
        }
        assert(block.end <= READ_MEMORY_BYTES);
        used.push(block);
      }
      for (const { page } of used) memory.release(page);
      assert.equal(memory.usedBlocks, 0);
      for (let i = 0; i < 4; i++) assert(memory.take(READ_PIECE_BYTES_MAX) >= 0, "merged again");
      assert.equal(memory.take(512), -1);
    }),
  );
});

test("memory that is full answers -1 and recovers when a block is released", () => {
  const memory = newMemory();
  const pages: number[] = [];
  for (let page = memory.take(4096); page >= 0; page = memory.take(4096)) pages.push(page);
  assert.equal(pages.length, READ_MEMORY_BYTES / (2 * PAGE_BYTES));
  memory.release(pages[7]!);
  assert.equal(memory.take(4096), pages[7]);
});

test("a view is kept while its range stays the same", () => {
  const memory = newMemory();
  const page = memory.take(4096);
  const at = memory.dataAt(page);
  const view = memory.view(page, at - 28, at + 4096);
  assert.equal(memory.view(page, at - 28, at + 4096), view);
  assert.notEqual(memory.view(page, at - 16, at + 4096), view);
});
