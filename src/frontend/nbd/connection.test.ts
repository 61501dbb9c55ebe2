import assert from "node:assert/strict";
import { decodeReplies, request } from "../../../test/nbd/client-bytes.ts";
import type { ReplyFields, RequestFields } from "../../../test/nbd/client-bytes.ts";
import {
  negotiation,
  randomRequests,
  requestParts,
  split,
} from "../../../test/nbd/client-streams.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { Session, pendingReads } from "../../../test/nbd/session.ts";
import { test } from "../../../test/support/test.ts";
import { Prng } from "../../base/index.ts";
import { fuzzConnection } from "./connection.fuzz.ts";

const VOLUME_BYTES = 4 << 20;
const ROUNDS = 60;
const FUZZ_SEEDS = 400;

interface Outcome {
  readonly greeting: string;
  readonly replies: Map<number, ReplyFields>;
  readonly bytes: Uint8Array;
}

/** Runs a conversation; the transmission part arrives in the pieces that `pieces` makes of it. */
async function converse(
  options: Buffer,
  requests: readonly RequestFields[],
  pieces: (bytes: Buffer) => Buffer[],
  order?: Prng,
): Promise<Outcome> {
  const volume = new MemoryVolume({ sizeBytes: VOLUME_BYTES, completions: "by-test" });
  // Some reads are answered from memory, at once.
  if (order !== undefined) volume.isCached = () => order.chance(0.3);
  const session = new Session({ volume });
  for (const piece of pieces(options)) session.stream.deliver(piece);
  const greeting = await session.settle();
  const received: Buffer[] = [];
  for (const piece of pieces(Buffer.concat(requestParts(requests)))) {
    if (session.stream.isPaused) received.push(await session.settle(order));
    session.stream.deliver(piece);
    if (order?.chance(0.1) === true) received.push(await session.settle(order));
  }
  received.push(await session.settle(order));
  assert.deepEqual(session.violations, []);
  const replies = decodeReplies(Buffer.concat(received), pendingReads(requests));
  return { greeting: greeting.toString("hex"), replies, bytes: volume.bytes };
}

/** Block statuses wait for each other, and tell of what is written meanwhile or not. */
function comparable(replies: Outcome["replies"]): Map<number, unknown> {
  return new Map(
    Array.from(replies, ([cookie, { extents, ...reply }]) => {
      return [cookie, { ...reply, hasExtents: extents !== undefined }];
    }),
  );
}

test("any split of the bytes, any order of completions: the same replies", async () => {
  for (let seed = 1; seed <= ROUNDS; seed++) {
    const prng = new Prng(seed);
    const options = Buffer.concat(negotiation(prng));
    const requests = randomRequests(prng, 40, VOLUME_BYTES);
    const whole = await converse(options, requests, (bytes) => [bytes]);
    const inPieces = await converse(options, requests, (bytes) => split(bytes, prng), prng);
    assert.equal(whole.replies.size, requests.length, `seed ${seed}: all are answered`);
    assert.equal(inPieces.greeting, whole.greeting, `seed ${seed}`);
    assert.deepEqual(comparable(inPieces.replies), comparable(whole.replies), `seed ${seed}`);
    assert(Buffer.from(inPieces.bytes).equals(whole.bytes), `seed ${seed}: data`);
  }
});

test("what is in memory is answered in the turn that asked for it, and its memory used again", async () => {
  for (const structured of [true, false]) {
    const volume = new MemoryVolume({ sizeBytes: 1 << 20, completions: "by-test", record: true });
    const session = new Session({ volume });
    await session.negotiate({ structured });
    volume.bytes.fill(7, 4096, 8192);
    volume.isCached = (offset) => offset < 65_536;
    const reads = Array.from({ length: 24 }, (_, cookie) => {
      return { command: 0, cookie, offset: 4096 * cookie, length: 4096 };
    });
    // More in all than the connection has memory for.
    for (let round = 0; round < 200; round++) {
      session.stream.deliver(Buffer.concat(reads.slice(0, 16).map(request)));
      assert.equal(volume.waitingCount, 0);
      session.stream.drain();
      const replies = decodeReplies(session.stream.takeReceived(), pendingReads(reads));
      assert.equal(replies.size, 16);
      assert(replies.get(1)?.data?.equals(volume.bytes.subarray(4096, 8192)));
    }
    assert.deepEqual([volume.calls.length, volume.submits], [0, 0]);
    const mixed = await session.run(...reads);
    assert.equal(mixed.size, reads.length);
    assert.equal(volume.calls.length, 8);
  }
});

test("bent conversations harm their own connection only (400 seeds of the fuzzer)", async () => {
  for (let seed = 1; seed <= FUZZ_SEEDS; seed++) {
    await fuzzConnection(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
