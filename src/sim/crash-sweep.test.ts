/**
 * The sweep, tried on a store so small that one sees whether it is right: a counter in two slots
 * that are written in turn, each with a checksum, or one slot alone, which a torn write destroys.
 */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { crc32c, getU32, setU32 } from "../base/index.ts";
import { DiskRequests, MetadataBatch } from "../ports/index.ts";
import {
  DiskMedium,
  MetadataMedium,
  SimDisk,
  type SimMachine,
  SimMetadataStore,
  sweepCrashes,
  type SweepMedia,
  type SweepReport,
} from "./index.ts";

interface Habits {
  readonly slots: 1 | 2;
  readonly flushes: boolean;
}

const SLOT = 4096;
const KEY = new Uint8Array([1]);

async function write(disk: SimDisk, count: number, habits: Habits): Promise<void> {
  const memory = disk.allocate(SLOT);
  memory.bytes.fill(count);
  setU32(memory.bytes, 4, count);
  setU32(memory.bytes, 0, crc32c(memory.bytes, 4));
  const requests = new DiskRequests(disk);
  await requests.write(memory, 0, SLOT, (count % habits.slots) * SLOT);
  if (habits.flushes) await requests.flush();
}

async function recover(machine: SimMachine, media: SweepMedia): Promise<number> {
  const disk = new SimDisk(machine, media.disk);
  const memory = disk.allocate(2 * SLOT);
  await new DiskRequests(disk).read(memory, 0, 2 * SLOT, 0);
  const counts = [0, SLOT].map((at) => {
    const slot = memory.bytes.subarray(at, at + SLOT);
    return getU32(slot, 0) === crc32c(slot, 4) ? getU32(slot, 4) : 0;
  });
  return Math.max(...counts);
}

async function sweep(habits: Habits): Promise<SweepReport> {
  let written = 0;
  let noted = 0;
  return await sweepCrashes({
    seed: 1,
    media: { disk: new DiskMedium({ sizeBytes: 2 * SLOT }), metadata: new MetadataMedium() },
    workload: async (machine, media) => {
      const disk = new SimDisk(machine, media.disk);
      const store = new SimMetadataStore(machine, media.metadata);
      for (let count = 1; count <= 10; count++) {
        await write(disk, count, habits);
        written = count;
        const batch = new MetadataBatch();
        batch.put(KEY, new Uint8Array([count]));
        await store.commit(batch);
        noted = count;
      }
    },
    acknowledged: () => ({ written, noted }),
    verify: async (machine, media, acknowledged) => {
      const found = await recover(machine, media);
      const note = new SimMetadataStore(machine, media.metadata).get(KEY)?.[0] ?? 0;
      assert.ok(found >= acknowledged.written, `${found} instead of ${acknowledged.written}`);
      assert.ok(found <= acknowledged.written + 1, "a count that was never written");
      assert.ok(note >= acknowledged.noted, "a note is lost");
      assert.ok(note <= found, "a note without what it is about");
    },
  });
}

test("a store that writes two slots in turn and flushes passes the sweep", async () => {
  const report = await sweep({ slots: 2, flushes: true });
  assert.equal(report.operations, 30);
  assert.ok(report.images >= 5 * report.operations);
});

test("the sweep finds a store that does not flush", async () => {
  await assert.rejects(sweep({ slots: 2, flushes: false }), {
    code: "crash-sweep",
    message: /seed 1, cut at operation \d+ .*: \d+ instead of \d+/,
  });
});

test("the sweep finds a store that a torn write destroys", async () => {
  await assert.rejects(sweep({ slots: 1, flushes: true }), { code: "crash-sweep" });
});
