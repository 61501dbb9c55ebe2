import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeLinkHeader, LINK_HEADER_BYTES } from "../format/index.ts";
import { CHUNKS_KEPT_BYTES_MAX, ChunkPool } from "./chunk-pool.ts";
import { LARGE_CHUNK_BYTES } from "./chunk-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { Outgoing } from "./outgoing.ts";

const LINKS = 15;
const BATCH_BYTES = 1024 * 1024 + 100;

test("links that were busy one after the other keep what one of them needed", () => {
  const pool = new ChunkPool();
  const buffers = new Set<ArrayBufferLike>();
  for (let i = 0; i < LINKS; i++) {
    const sent: number[] = [];
    const outgoing = new Outgoing(pool, (bytes, token) => {
      buffers.add(bytes.buffer);
      sent.push(token);
    });
    for (let batch = 0; batch < 4; batch++) {
      outgoing.append(BATCH_BYTES);
      outgoing.flush();
    }
    for (const token of sent) outgoing.written(token);
    assert.equal(outgoing.queuedBytes, 0);
  }
  assert.equal(buffers.size, 4);
  assert.equal(pool.keptBytes, 4 * LARGE_CHUNK_BYTES);
});

test("links that are busy at the same time keep a bounded amount afterwards", () => {
  const pool = new ChunkPool();
  const ends: (() => void)[] = [];
  for (let i = 0; i < LINKS; i++) {
    const outgoing = new Outgoing(pool, (_bytes, token) => {
      ends.push(() => outgoing.written(token));
    });
    for (let message = 0; message < 8; message++) {
      outgoing.append(message % 2 === 0 ? BATCH_BYTES : 200_000);
      outgoing.flush();
    }
  }
  for (const end of ends) end();
  assert.ok(pool.keptBytes <= CHUNKS_KEPT_BYTES_MAX, `${pool.keptBytes} bytes`);
});

test("a message that comes in pieces leaves its memory to the next link", () => {
  const pool = new ChunkPool();
  const message = new Uint8Array(LINK_HEADER_BYTES + 1024 * 1024).fill(7);
  encodeLinkHeader(message, 0, 1, 1024 * 1024, 1);
  let seen = 0;
  for (let i = 0; i < LINKS; i++) {
    const reader = new FrameReader(pool, (_header, bytes, start, end) => {
      assert.ok(bytes.subarray(start, end).every((byte) => byte === 7));
      seen++;
    });
    for (let at = 0; at < message.length; at += 65_536)
      assert.equal(reader.push(message.subarray(at, at + 65_536)), undefined);
  }
  assert.equal(seen, LINKS);
  assert.equal(pool.keptBytes, LARGE_CHUNK_BYTES);
});
