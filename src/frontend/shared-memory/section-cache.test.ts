import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { MemoryFile } from "../../../test/vhost-user/memory-file.ts";
import { Prng } from "../../base/index.ts";
import { SectionCache } from "./section-cache.ts";
import type { SharedRange } from "./section-cache.ts";

const PAGE = 4096;
const SECTION = 4 * PAGE;

function granted(
  file: MemoryFile,
  sectionsMax: number,
): { cache: SectionCache; range: SharedRange } {
  const cache = new SectionCache({ sectionBytes: SECTION, sectionsMax });
  const { sizeBytes } = file;
  return { cache, range: cache.grant({ file, fileOffset: 0, sizeBytes, mayWrite: true }) };
}

test("a section is mapped at its first touch, and later touches find it", () => {
  const file = new MemoryFile(8 * SECTION);
  const { cache, range } = granted(file, 8);
  const bytes = new Uint8Array(PAGE);
  for (let round = 0; round < 3; round++)
    for (let section = 0; section < 8; section++) range.read(section * SECTION, bytes, 0, PAGE);
  const { mapped, mapsTotal, hitsTotal, evictionsTotal, copiedBytesTotal } = cache.stats;
  assert.deepEqual(
    { mapped, mapsTotal, hitsTotal, evictionsTotal, copiedBytesTotal },
    { mapped: 8, mapsTotal: 8, hitsTotal: 16, evictionsTotal: 0, copiedBytesTotal: 24 * PAGE },
  );
});

test("a request across sections is one copy, without a buffer in between", () => {
  const file = new MemoryFile(8 * SECTION);
  const { cache, range } = granted(file, 8);
  const source = Uint8Array.from({ length: 2 * SECTION + 100 }, (_, i) => i % 251);
  range.write(SECTION - 50, source, 0, source.length);
  assert.equal(cache.stats.mapsTotal, 4);
  assert.equal(cache.stats.copiedBytesTotal, source.length);
  assert.deepEqual(file.bytes.slice(SECTION - 50, 3 * SECTION + 50), source);
});

test("half of the sections in the cache are enough for a hot fifth", () => {
  const sections = 100;
  const file = new MemoryFile(sections * SECTION);
  const { cache, range } = granted(file, sections / 2);
  const prng = new Prng(7);
  const bytes = new Uint8Array(512);
  const touch = (): void => {
    const isHot = prng.chance(0.9);
    const section = isHot ? prng.below(sections / 5) : prng.below(sections);
    range.read(section * SECTION, bytes, 0, 512);
  };
  for (let i = 0; i < 5000; i++) touch();
  const before = cache.stats.mapsTotal;
  for (let i = 0; i < 20_000; i++) touch();
  const mapRate = (cache.stats.mapsTotal - before) / 20_000;
  // One in ten touches is spread over all sections, and half of those are mapped: 0.05 is the
  // least.
  assert.ok(mapRate < 0.06, `${mapRate} maps per touch`);
  assert.ok(cache.stats.mapped <= sections / 2);
  assert.equal(file.mappedCount, cache.stats.mapped);
});

test("a pinned section stays mapped, whatever else is asked for", () => {
  const file = new MemoryFile(16 * SECTION);
  const { cache, range } = granted(file, 4);
  const pinned = range.sectionAt(0);
  cache.pin(pinned);
  const bytes = new Uint8Array(1);
  for (let i = 0; i < 200; i++) range.read((i % 16) * SECTION, bytes, 0, 1);
  assert.equal(range.sectionAt(0), pinned);
  range.revoke();
  assert.equal(file.mappedCount, 1, "revoked, and mapped while it is pinned");
  cache.unpin(pinned);
  assert.equal(file.mappedCount, 0);
});

test("a range that was revoked can be granted again and reads what is there now", () => {
  const file = new MemoryFile(4 * SECTION);
  const { cache, range } = granted(file, 2);
  const bytes = new Uint8Array(1);
  for (let i = 0; i < 4; i++) range.read(i * SECTION, bytes, 0, 1);
  range.revoke();
  assert.equal(file.mappedCount, 0);
  file.bytes[0] = 9;
  const again = cache.grant({ file, fileOffset: 0, sizeBytes: SECTION, mayWrite: false });
  again.read(0, bytes, 0, 1);
  assert.equal(bytes[0], 9);
  assert.throws(() => again.write(0, bytes, 0, 1), /may not be written/);
  assert.equal(file.bytes[0], 9);
});

test("a range is revoked at the cost of what is mapped of it, however long it is", () => {
  const cache = new SectionCache({ sectionBytes: PAGE, sectionsMax: 64 });
  const bytes = new Uint8Array(PAGE);
  const mapping = {
    memory: { bytes, handle: { address: 0, lengthBytes: PAGE }, isShared: true },
    release: () => undefined,
    retire: () => undefined,
  };
  const sizeBytes = 2 ** 24 * PAGE;
  const file = { sizeBytes, map: () => mapping, close: () => undefined };
  const ranges = Array.from({ length: 8 }, () =>
    cache.grant({ file, fileOffset: 0, sizeBytes, mayWrite: true }),
  );
  for (const range of ranges) range.read(sizeBytes - 1, bytes, 0, 1);
  assert.equal(cache.stats.mapped, 8);
  // Nothing is kept, and so looked at, for what lies before a section that was touched.
  for (const range of ranges) assert.equal(range.sections.size, 1);
  for (const range of ranges) range.revoke();
  assert.equal(cache.stats.mapped, 0);
});

test("a mapping that fails leaves the cache as it was", () => {
  const file = new MemoryFile(4 * SECTION);
  const { cache, range } = granted(file, 2);
  const map = file.map.bind(file);
  file.map = () => {
    throw new Error("no memory");
  };
  assert.throws(() => range.sectionAt(0), /no memory/);
  file.map = map;
  assert.equal(range.sectionAt(0).bytes.length, SECTION);
  assert.equal(cache.stats.mapped, 1);
});

test("only bytes of the range are read and written, through any number of sections", () => {
  const place = fc.record({
    start: fc.integer({ min: 0, max: 3 * SECTION }),
    sizeBytes: fc.integer({ min: 1, max: 3 * SECTION }),
    offset: fc.double({ min: 0, max: 0.999, noNaN: true }),
    length: fc.double({ min: 0, max: 1, noNaN: true }),
    sectionsMax: fc.integer({ min: 1, max: 4 }),
  });
  const property = fc.property(place, ({ start, sizeBytes, offset, length, sectionsMax }) => {
    const file = new MemoryFile(8 * SECTION);
    const cache = new SectionCache({ sectionBytes: SECTION, sectionsMax });
    const range = cache.grant({ file, fileOffset: start, sizeBytes, mayWrite: true });
    const from = Math.floor(offset * sizeBytes);
    const lengthBytes = Math.floor(length * (sizeBytes - from));
    const expected = file.bytes.slice();
    expected.fill(0x5c, start + from, start + from + lengthBytes);
    range.write(from, new Uint8Array(lengthBytes).fill(0x5c), 0, lengthBytes);
    assert.equal(Buffer.compare(file.bytes, expected), 0);
    assert.throws(() => range.write(from, new Uint8Array(sizeBytes + 1), 0, sizeBytes - from + 1));
    assert.equal(Buffer.compare(file.bytes, expected), 0);
  });
  fc.assert(property, { numRuns: 300 });
});
