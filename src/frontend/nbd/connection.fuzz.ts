/**
 * Throws bent conversations at a connection. Whatever a client sends: nothing throws, memory stays
 * bounded, and once its input has ended and the volume has answered, the connection is closed and
 * its memory is free. `npm run fuzz -- nbd --inputs N` runs more of it.
 */
import assert from "node:assert/strict";
import {
  bend,
  negotiation,
  randomRequests,
  requestParts,
  split,
} from "../../../test/nbd/client-streams.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { Session, turn } from "../../../test/nbd/session.ts";
import { Prng } from "../../base/index.ts";
import { READ_MEMORY_BYTES } from "./read-memory.ts";

const VOLUME_BYTES = 1 << 20;
const FAULTS = ["io-error", "no-space", "not-owner", "shutting-down"] as const;

/** Returns how many options and requests were sent, some of them bent. */
export async function fuzzConnection(seed: number): Promise<number> {
  const prng = new Prng(seed);
  const volume = new MemoryVolume({ sizeBytes: VOLUME_BYTES, completions: "by-test" });
  if (prng.chance(0.3)) volume.fault = () => (prng.chance(0.2) ? prng.pick(FAULTS) : undefined);
  if (prng.chance(0.3)) volume.isCached = () => prng.chance(0.5);
  const session = new Session({ volume });
  if (prng.chance(0.3)) session.stream.highWaterBytes = 100;
  const requests = randomRequests(prng, prng.between(1, 30), VOLUME_BYTES);
  const parts = [...negotiation(prng), ...requestParts(requests)];
  const bytes = bend(parts, prng);
  for (const piece of split(bytes, prng)) {
    if (session.stream.isClosed) break;
    if (session.stream.isPaused) await session.settle(prng);
    if (session.stream.isPaused || session.stream.isClosed) break;
    session.stream.deliver(piece);
    if (prng.chance(0.2)) await session.settle(prng);
  }
  assert(volume.allocatedBytes <= READ_MEMORY_BYTES, "memory grows with what the client sends");
  if (prng.chance(0.5)) await session.settle(prng);
  else session.stream.destroy();
  assert(session.stream.isClosed || !session.stream.isPaused, "a connection is stuck");
  if (!session.stream.isClosed) session.stream.deliverEnd();
  await session.settle(prng);
  await turn();
  assert.equal(session.closedCount, 1, "a connection outlives its client");
  if (volume.allocatedBytes > 0) session.memory.take(volume);
  assert(volume.allocatedBytes <= READ_MEMORY_BYTES, "a connection keeps its memory");
  return parts.length;
}
