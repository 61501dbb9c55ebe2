import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "../../test/support/test.ts";
import { Prng, sha256, toHex } from "./index.ts";

test("SHA-256 gives the digests of the standard's examples", () => {
  const text = (value: string): string => toHex(sha256(new TextEncoder().encode(value)));
  assert.equal(text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert.equal(text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.equal(
    text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  );
});

test("SHA-256 agrees with the native one at every length around a chunk's borders", () => {
  const bytes = new Uint8Array(8192);
  new Prng(1).fill(bytes);
  const lengths = [...Array(260).keys(), 4095, 4096, 4097, 8000];
  for (const length of lengths) {
    const ours = toHex(sha256(bytes, 100, 100 + Math.min(length, 8092)));
    const native = createHash("sha256")
      .update(bytes.subarray(100, 100 + length))
      .digest("hex");
    assert.equal(ours, native, `length ${length}`);
  }
});
