import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { decodeUtf8, encodeUtf8 } from "./utf8.ts";

test("encoding agrees with the platform's encoder", () => {
  const encoder = new TextEncoder();
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.deepEqual([...encodeUtf8(text)], [...encoder.encode(text)]);
    }),
  );
});

test("decoding accepts exactly what the platform's strict decoder accepts", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const strict = (bytes: Uint8Array): string | undefined => {
    try {
      return decoder.decode(bytes);
    } catch {
      return undefined;
    }
  };
  const nasty = fc.constantFrom(
    0x41,
    0x80,
    0xbf,
    0xc0,
    0xc2,
    0xe0,
    0xed,
    0xa0,
    0xef,
    0xf0,
    0xf4,
    0x90,
    0xf8,
    0xff,
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.array(nasty, { maxLength: 6 }).map((values) => Uint8Array.from(values)),
    fc.string({ unit: "binary" }).map((text) => encodeUtf8(text)),
  );
  fc.assert(
    fc.property(bytes, (input) => assert.equal(decodeUtf8(input), strict(input))),
    { numRuns: 2000 },
  );
});

test("a byte that begins no sequence is refused", () => {
  for (const lead of [0x80, 0xc0, 0xc1, 0xf5, 0xf8, 0xff]) {
    assert.equal(decodeUtf8(Uint8Array.of(lead, 0x90, 0x80, 0x80)), undefined);
  }
});
