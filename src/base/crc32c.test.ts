import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { crc32c } from "./index.ts";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Bit by bit, straight from the definition: nothing shared with the tables under test. */
function crc32cBitwise(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test("crc32c gives the published check values", () => {
  assert.equal(crc32c(ascii("123456789")), 0xe3069283);
  // RFC 3720, appendix B.4: 32 bytes of zeroes, of ones, ascending, descending.
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c);
});

test("crc32c of nothing is zero", () => {
  assert.equal(crc32c(new Uint8Array(0)), 0);
});

test("crc32c agrees with its definition on bytes of any length", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.equal(crc32c(bytes), crc32cBitwise(bytes));
    }),
  );
});

test("crc32c of a range looks at that range alone, and a seed continues it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), fc.nat(100), (bytes, a, b) => {
      const [start, end] = [a, b].map((at) => Math.min(at, bytes.length)).sort((x, y) => x - y);
      assert.ok(start !== undefined && end !== undefined);
      assert.equal(crc32c(bytes, start, end), crc32cBitwise(bytes.slice(start, end)));
      const continued = crc32c(bytes, start, bytes.length, crc32c(bytes, 0, start));
      assert.equal(continued, crc32c(bytes));
    }),
  );
});

test("crc32c notices every single flipped bit", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.nat(), (bytes, position) => {
      const flipped = bytes.slice();
      const bit = position % (bytes.length * 8);
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      assert.notEqual(crc32c(flipped), crc32c(bytes));
    }),
  );
});
