import { deepEqual } from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { compareBytes, toHex } from "../../base/index.ts";
import { PendingEntries, mergeEntries } from "./pending-entries.ts";
import type { PendingEntry } from "./pending-entries.ts";

const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 12 });
const entry = fc.record({
  key,
  value: fc.option(fc.uint8Array({ maxLength: 2 }), { nil: undefined }),
});
const batches = fc.array(fc.array(entry, { maxLength: 120 }), { maxLength: 4 });

function newest(entries: readonly PendingEntry[]): Map<string, PendingEntry> {
  return new Map(entries.map((one) => [toHex(one.key), one]));
}

function inRange(
  entries: Iterable<PendingEntry>,
  from: Uint8Array,
  to: Uint8Array,
): PendingEntry[] {
  return [...entries]
    .filter((one) => compareBytes(one.key, from) >= 0 && compareBytes(one.key, to) < 0)
    .toSorted((a, b) => compareBytes(a.key, b.key));
}

test("pending entries are found and ordered as in a sorted map, the newest of a key alone", () => {
  const property = fc.property(batches, key, key, key, (added, probe, from, to) => {
    const pending = new PendingEntries();
    for (const batch of added) {
      pending.add(batch);
      pending.range(from, to);
    }
    const model = newest(added.flat());
    deepEqual(pending.find(probe), model.get(toHex(probe)));
    for (const one of added.flat()) deepEqual(pending.find(one.key), model.get(toHex(one.key)));
    if (compareBytes(from, to) < 0) {
      deepEqual(pending.range(from, to), inRange(model.values(), from, to));
    }
  });
  fc.assert(property, { numRuns: 200 });
});

test("of two ordered lists the newer one's entry stays where both have a key", () => {
  const property = fc.property(fc.array(entry), fc.array(entry), (older, newer) => {
    const everything = [new Uint8Array(0), new Uint8Array([255])] as const;
    const merged = mergeEntries(
      inRange(newest(older).values(), ...everything),
      inRange(newest(newer).values(), ...everything),
    );
    deepEqual(merged, inRange(newest([...older, ...newer]).values(), ...everything));
  });
  fc.assert(property, { numRuns: 200 });
});
