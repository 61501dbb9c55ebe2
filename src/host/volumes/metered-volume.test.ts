import { test } from "../../../test/support/test.ts";
import { LATENCY_BOUNDS_MS } from "../../base/index.ts";
import assert from "node:assert/strict";
import type { IoDone, VolumeIo } from "../../object/index.ts";
import type { Clock } from "../../ports/index.ts";
import { MeteredVolume } from "./metered-volume.ts";

interface Call {
  readonly done: IoDone;
  readonly token: number;
}

/** A volume that answers when it is told to. */
function slowVolume(): { readonly calls: Call[]; readonly volume: VolumeIo } {
  const calls: Call[] = [];
  const take = (done: IoDone, token: number): void => void calls.push({ done, token });
  const volume: Partial<VolumeIo> = {
    name: "web1",
    sizeBytes: 4096,
    read: (_target, _at, _length, _offset, done, token) => take(done, token),
    write: (_source, _at, _length, _offset, done, token) => take(done, token),
  };
  return { calls, volume: volume as VolumeIo };
}

test("requests are counted when they are answered, with the time from call to answer", () => {
  const { calls, volume } = slowVolume();
  let nowMs = 0;
  const clock = { nowMs: () => nowMs } as Clock;
  const metered = new MeteredVolume(volume, clock);
  const answered: (readonly [number, string | undefined])[] = [];
  const done: IoDone = (token, fault) => void answered.push([token, fault]);
  const memory = { bytes: new Uint8Array(4096) } as Parameters<VolumeIo["read"]>[0];

  metered.read(memory, 0, 4096, 0, done, 70);
  nowMs = 1;
  metered.write(memory.bytes, 0, 512, 0, done, 71);
  assert.equal(metered.view().reads.count, 0);
  // The later one is answered first: each has its own beginning and its own token.
  nowMs = 4;
  calls[1]!.done(calls[1]!.token, "no-space");
  nowMs = 30;
  calls[0]!.done(calls[0]!.token, undefined);

  assert.deepEqual(answered, [
    [71, "no-space"],
    [70, undefined],
  ]);
  const { reads, writes } = metered.view();
  assert.deepEqual([reads.count, reads.bytes, reads.totalMs, reads.faults], [1, 4096, 30, 0]);
  assert.deepEqual([writes.count, writes.bytes, writes.totalMs, writes.faults], [1, 512, 3, 1]);
  assert.equal(reads.buckets[LATENCY_BOUNDS_MS.indexOf(50)], 1);
  assert.equal(writes.buckets[LATENCY_BOUNDS_MS.indexOf(5)], 1);
  assert.equal(reads.buckets.length, LATENCY_BOUNDS_MS.length + 1);
});

test("a request may be made from inside an answer, as front ends do", () => {
  const { calls, volume } = slowVolume();
  const metered = new MeteredVolume(volume, { nowMs: () => 0 } as Clock);
  const tokens: number[] = [];
  const source = new Uint8Array(512);
  metered.write(
    source,
    0,
    512,
    0,
    (first) => {
      tokens.push(first);
      metered.write(source, 0, 512, 0, (second) => void tokens.push(second), 8);
    },
    7,
  );
  calls[0]!.done(calls[0]!.token, undefined);
  calls[1]!.done(calls[1]!.token, undefined);
  assert.deepEqual(tokens, [7, 8]);
  assert.equal(metered.view().writes.count, 2);
});
