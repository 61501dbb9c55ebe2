import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { MemoryFile } from "../../../test/vhost-user/memory-file.ts";
import { SectionCache } from "../shared-memory/section-cache.ts";
import { GuestMemory } from "./guest-memory.ts";
import type { RegionDescription } from "./guest-memory.ts";
import { VhostViolation } from "./violation.ts";

const PAGE = 4096;

function memoryWith(...regions: readonly Partial<RegionDescription>[]): {
  memory: GuestMemory;
  files: MemoryFile[];
} {
  const memory = new GuestMemory(new SectionCache({ sectionBytes: PAGE, sectionsMax: 8 }));
  const files = regions.map((region) => {
    const file = new MemoryFile(4 * PAGE);
    memory.add(
      { guestAddress: 0, sizeBytes: 4 * PAGE, userAddress: 0, fileOffset: 0, ...region },
      file,
    );
    return file;
  });
  return { memory, files };
}

test("buffers may span regions that lie side by side, and no holes", () => {
  const end = 4 * PAGE;
  const { memory, files } = memoryWith({ guestAddress: end }, {}, { guestAddress: 3 * end });
  const source = new Uint8Array(PAGE).fill(7);
  assert.ok(memory.contains(end - 100, 200));
  assert.ok(memory.write(end - 100, source, 0, 200));
  assert.equal(files[1]!.bytes.filter((byte) => byte === 7).length, 100);
  assert.equal(files[0]!.bytes.filter((byte) => byte === 7).length, 100);
  assert.equal(memory.contains(2 * end - 1, 2), false);
  assert.equal(memory.write(2 * end - 1, source, 0, 2), false);
  assert.equal(memory.read(2 * end, source, 0, 1), false);
});

test("regions that overlap, leave their file or the address space are refused", () => {
  for (const bad of [
    { guestAddress: PAGE },
    { guestAddress: 2 ** 52 },
    { guestAddress: 2 ** 63 },
    { guestAddress: 1 << 20, userAddress: 2 ** 63 },
    { guestAddress: 1 << 20, fileOffset: PAGE },
    { guestAddress: 1 << 20, fileOffset: 2 ** 64 },
    { guestAddress: 1 << 20, sizeBytes: 0 },
    { guestAddress: 1 << 20, sizeBytes: 2 ** 64 },
  ])
    assert.throws(() => memoryWith({}, bad), VhostViolation);
});

test("a guest has at most so much memory in all, and what it gives back may come again", () => {
  const memory = new GuestMemory(new SectionCache({ sectionBytes: 2 << 20, sectionsMax: 4 }));
  const sizeBytes = 2 ** 43;
  const file = { sizeBytes, map: () => assert.fail("nothing is touched"), close: () => undefined };
  const place = (index: number) => ({
    guestAddress: index * sizeBytes,
    sizeBytes,
    userAddress: index * sizeBytes,
    fileOffset: 0,
  });
  memory.add(place(0), file);
  memory.add(place(1), file);
  assert.throws(() => memory.add(place(2), file), /more than 16 TiB of memory/);
  memory.remove(place(0));
  memory.add(place(2), file);
});

test("a region that is taken away is unmapped, and its addresses are nobody's", () => {
  const { memory, files } = memoryWith({ guestAddress: 0 }, { guestAddress: 1 << 20 });
  const bytes = new Uint8Array(1);
  assert.ok(memory.read(1 << 20, bytes, 0, 1));
  const region = { guestAddress: 1 << 20, sizeBytes: 4 * PAGE, userAddress: 0, fileOffset: 0 };
  assert.throws(() => memory.remove({ ...region, sizeBytes: PAGE }), /not there/);
  memory.remove(region);
  assert.equal(files[1]!.mappedCount, 0);
  assert.ok(files[1]!.isClosed);
  assert.equal(memory.read(1 << 20, bytes, 0, 1), false);
  assert.ok(memory.read(0, bytes, 0, 1));
});

test("a ring that leaves its region is not mapped", () => {
  const { memory, files } = memoryWith({ userAddress: 0x10_0000 });
  assert.throws(() => memory.mapUser(0x10_0000 + 4 * PAGE - 8, 16), /outside of the memory/);
  assert.throws(() => memory.mapUser(2 ** 64, 16), /outside of the memory/);
  const piece = memory.mapUser(0x10_0000 + PAGE - 8, 16);
  assert.equal(piece.at, PAGE - 8);
  assert.equal(piece.bytes.length, 2 * PAGE);
  piece.mapping.release();
  assert.equal(files[0]!.mappedCount, 0);
});
