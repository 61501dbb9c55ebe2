import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "../../../test/support/test.ts";
import { BLOCK_SIZE_BYTES, fromHex, Prng } from "../../base/index.ts";
import { WideBlockCipher } from "./wide-block-cipher.ts";

/**
 * By another program: HMAC and HKDF of Python's standard library, AES-256-CTR of the openssl
 * command. First 48 bytes of the encrypted block, and SHA-256 of all of it.
 */
const KNOWN = [
  {
    key: "00".repeat(32),
    block: new Uint8Array(BLOCK_SIZE_BYTES),
    begins:
      "c5c846d4db93e3e4330cf5d53a981578ea04423720bffc8e4e749e7f8465008be54661ea0cebeed528b9cb9e6c397faa",
    sha256: "f4a17a01192abc3e4d72b7c6b5407268d8deb8b90ef1fd9674ddb8a68effde0c",
  },
  {
    key: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    block: Uint8Array.from({ length: BLOCK_SIZE_BYTES }, (_, i) => i * 7),
    begins:
      "5e957416edbea4b825f8399f3370bf6e86e99f4a53a0ac4469090b8ce21d35cec44e44d93f003577d2c1fc81caa902fd",
    sha256: "32d75ccc3185774a36b3688352aea915172eef13553304f7e77c857a27d5d7c3",
  },
  {
    key: "ff".repeat(32),
    block: Buffer.from("Dry stone walls stand without mortar. ".repeat(120)).subarray(0, 4096),
    begins:
      "2c11658556f9aa40fd778ecf8fd42f1de0d7f9a9e6cca7c2845ce6e5a53fc1cb947355f7d004ee4777d91d74a0591c08",
    sha256: "a2c15c20ff23b46be5ebda116e11ecba920b2a8b7bd535a021d40782be357d12",
  },
] as const;

test("blocks encrypt to what another program makes of them, and back", () => {
  for (const { key, block, begins, sha256 } of KNOWN) {
    const cipher = new WideBlockCipher(fromHex(key));
    const target = new Uint8Array(3 * BLOCK_SIZE_BYTES).fill(0x55);
    cipher.encrypt(block, 0, target, BLOCK_SIZE_BYTES);
    const encrypted = target.subarray(BLOCK_SIZE_BYTES, 2 * BLOCK_SIZE_BYTES);
    assert.equal(Buffer.from(encrypted.subarray(0, 48)).toString("hex"), begins);
    assert.equal(createHash("sha256").update(encrypted).digest("hex"), sha256);
    cipher.decrypt(target, BLOCK_SIZE_BYTES, target, 2 * BLOCK_SIZE_BYTES);
    assert.deepEqual(target.subarray(2 * BLOCK_SIZE_BYTES), Uint8Array.from(block));
    assert.ok(target.subarray(0, BLOCK_SIZE_BYTES).every((byte) => byte === 0x55));
  }
});

test("a block may be encrypted and decrypted where it is", () => {
  const cipher = new WideBlockCipher(new Uint8Array(32).fill(9));
  const block = Uint8Array.from({ length: BLOCK_SIZE_BYTES }, (_, i) => i);
  const bytes = block.slice();
  cipher.encrypt(bytes, 0, bytes, 0);
  assert.notDeepEqual(bytes, block);
  cipher.decrypt(bytes, 0, bytes, 0);
  assert.deepEqual(bytes, block);
});

test("one bit changes half of all bits of a block, wherever it is and in both directions", () => {
  const prng = new Prng(7);
  const cipher = new WideBlockCipher(new Uint8Array(32).fill(1));
  const block = Uint8Array.from({ length: BLOCK_SIZE_BYTES }, () => prng.below(256));
  for (const way of ["encrypt", "decrypt"] as const) {
    const plain = new Uint8Array(BLOCK_SIZE_BYTES);
    cipher[way](block, 0, plain, 0);
    for (const at of [0, 31, 32, 33, 2048, 4095]) {
      const changed = block.slice();
      changed[at]! ^= 1 << prng.below(8);
      const result = new Uint8Array(BLOCK_SIZE_BYTES);
      cipher[way](changed, 0, result, 0);
      // A right cipher is off by 500 of 32,768 bits about once in 30 million tries.
      const bits = differingBits(plain, result, 0, BLOCK_SIZE_BYTES);
      assert.ok(Math.abs(bits - 16_384) < 500, `${way} at ${at}: ${bits} bits differ`);
      const leftBits = differingBits(plain, result, 0, 32);
      assert.ok(Math.abs(leftBits - 128) < 45, `${way} at ${at}: ${leftBits} of the first 256`);
    }
  }
});

test("another key gives another block", () => {
  const block = new Uint8Array(BLOCK_SIZE_BYTES).fill(3);
  const [one, other] = [1, 2].map((key) => {
    const result = new Uint8Array(BLOCK_SIZE_BYTES);
    new WideBlockCipher(new Uint8Array(32).fill(key)).encrypt(block, 0, result, 0);
    return result;
  });
  assert.ok(Math.abs(differingBits(one!, other!, 0, 4096) - 16_384) < 500);
});

function differingBits(a: Uint8Array, b: Uint8Array, from: number, end: number): number {
  let bits = 0;
  for (let i = from; i < end; i++)
    for (let rest = a[i]! ^ b[i]!; rest > 0; rest >>= 1) bits += rest & 1;
  return bits;
}
