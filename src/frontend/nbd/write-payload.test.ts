import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { GATHER_BYTES, WritePayload } from "./write-payload.ts";

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly source: Uint8Array;
}

function collect(): { payload: WritePayload; pieces: Piece[] } {
  const pieces: Piece[] = [];
  const payload = new WritePayload((source, at, lengthBytes, offset) => {
    pieces.push({ offset, bytes: source.slice(at, at + lengthBytes), source });
  });
  return { payload, pieces };
}

test("a payload arrives whole and in order, cut at blocks only, however it was split", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 30 });
  const sectors = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 1500 }));
  fc.assert(
    fc.property(sectors, fc.nat(20), sizes, (count, startSector, chunkSizes) => {
      const offset = startSector * 512;
      const whole = Uint8Array.from({ length: count * 512 }, (_, i) => (i * 7 + (i >> 9)) & 255);
      const { payload, pieces } = collect();
      payload.begin(offset, whole.length, false);
      let at = 0;
      for (let turn = 0; payload.leftBytes > 0; turn++) {
        const size = chunkSizes[turn % chunkSizes.length]!;
        const chunk = whole.slice(at, at + size);
        for (let used = 0; used < chunk.length;) used = payload.take(chunk, used, chunk.length);
        at += chunk.length;
      }
      let next = offset;
      for (const piece of pieces) {
        assert.equal(piece.offset, next);
        assert.equal(piece.bytes.length % 512, 0);
        next += piece.bytes.length;
        assert(next % 4096 === 0 || next === offset + whole.length, "cut inside a block");
      }
      assert.deepEqual(Buffer.concat(pieces.map(({ bytes }) => bytes)), Buffer.from(whole));
      if (whole.length <= GATHER_BYTES) assert.equal(pieces.length, 1);
    }),
  );
});

test("a payload inside one chunk is handed on from where it lies", () => {
  const { payload, pieces } = collect();
  const chunk = new Uint8Array(5000).fill(9);
  payload.begin(8192, 4096, false);
  assert.equal(payload.take(chunk, 100, chunk.length), 4196);
  assert.equal(pieces[0]?.source, chunk);
  assert.equal(payload.leftBytes, 0);
});

test("a refused payload is thrown away", () => {
  const { payload, pieces } = collect();
  payload.begin(0, 1024, true);
  assert.equal(payload.take(new Uint8Array(700), 0, 700), 700);
  assert.equal(payload.take(new Uint8Array(700), 0, 700), 324);
  assert.equal(payload.leftBytes, 0);
  assert.equal(pieces.length, 0);
});
