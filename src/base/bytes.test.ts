import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import {
  AssertionError,
  compareBytes,
  equalBytes,
  fromHex,
  getU16,
  getU32,
  getU40,
  getU48,
  getU64,
  isZero,
  setU16,
  setU32,
  setU40,
  setU48,
  setU64,
  toHex,
} from "./index.ts";

const GUARD = 0xa5;

interface Field {
  readonly name: string;
  readonly sizeBytes: number;
  readonly max: number;
  readonly get: (bytes: Uint8Array, at: number) => number;
  readonly set: (bytes: Uint8Array, at: number, value: number) => void;
}

const fields: readonly Field[] = [
  { name: "u16", sizeBytes: 2, max: 2 ** 16 - 1, get: getU16, set: setU16 },
  { name: "u32", sizeBytes: 4, max: 2 ** 32 - 1, get: getU32, set: setU32 },
  { name: "u40", sizeBytes: 5, max: 2 ** 40 - 1, get: getU40, set: setU40 },
  { name: "u48", sizeBytes: 6, max: 2 ** 48 - 1, get: getU48, set: setU48 },
  { name: "u64", sizeBytes: 8, max: Number.MAX_SAFE_INTEGER, get: getU64, set: setU64 },
];

/** What the field should look like in memory, by way of BigInt. */
function littleEndian(value: number, sizeBytes: number): number[] {
  return Array.from({ length: sizeBytes }, (_, i) =>
    Number((BigInt(value) >> BigInt(8 * i)) & 255n),
  );
}

for (const field of fields) {
  test(`${field.name}: what was set is read back, little-endian, and its neighbours stay`, () => {
    const values = fc.oneof(
      fc.maxSafeNat().map((value) => value % (field.max + 1)),
      fc.constantFrom(0, 1, field.max, Math.floor(field.max / 2), Math.floor(field.max / 2) + 1),
    );
    fc.assert(
      fc.property(values, fc.nat(7), (value, at) => {
        const bytes = new Uint8Array(at + field.sizeBytes + 1).fill(GUARD);
        field.set(bytes, at, value);
        assert.equal(field.get(bytes, at), value);
        const end = at + field.sizeBytes;
        assert.deepEqual(Array.from(bytes.slice(at, end)), littleEndian(value, field.sizeBytes));
        assert.ok(bytes.slice(0, at).every((byte) => byte === GUARD));
        assert.equal(bytes[end], GUARD);
      }),
    );
  });
}

test("u64: a field of 2^53 or more is refused, not rounded", () => {
  for (const bits of [53, 54, 63]) {
    const bytes = Uint8Array.from(littleEndian(0, 8));
    bytes[bits >>> 3] = 1 << (bits & 7);
    assert.throws(() => getU64(bytes, 0), AssertionError);
  }
});

test("compareBytes orders as a comparison of hexadecimal texts does", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 6 }), fc.uint8Array({ maxLength: 6 }), (a, b) => {
      const [textA, textB] = [toHex(a), toHex(b)];
      const expected = textA < textB ? -1 : textA > textB ? 1 : 0;
      assert.equal(Math.sign(compareBytes(a, b)), expected);
      assert.equal(equalBytes(a, b), expected === 0);
    }),
  );
});

test("hexadecimal text survives the way there and back", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.equal(toHex(bytes), Buffer.from(bytes).toString("hex"));
      assert.deepEqual(fromHex(toHex(bytes)), bytes);
      assert.deepEqual(fromHex(toHex(bytes).toUpperCase()), bytes);
    }),
  );
});

test("fromHex refuses odd lengths and other characters", () => {
  for (const text of ["0", "0g", "0x00", " 00", "00 "]) {
    assert.throws(() => fromHex(text), AssertionError, text);
  }
});

test("isZero looks at its range alone", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(), (length, position, cut) => {
      const bytes = new Uint8Array(length);
      const at = position % length;
      bytes[at] = 1;
      assert.ok(isZero(bytes, 0, at));
      assert.ok(isZero(bytes, at + 1, length));
      const start = cut % (at + 1);
      assert.ok(!isZero(bytes, start, at + 1));
    }),
  );
});
