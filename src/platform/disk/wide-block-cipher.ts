/**
 * LIONESS (Anderson and Biham, "Two practical and provably secure block ciphers", 1996) over blocks
 * of 4096 bytes: four rounds of a Feistel network whose halves are the first 32 bytes, L, and the
 * other 4064, R.
 *
 *     R ^= stream(1, L)    L ^= hash(2, R)    R ^= stream(3, L)    L ^= hash(4, R)
 *
 * `hash(i, R)` is HMAC-SHA-256 of R under the round's key; `stream(i, L)` is AES-256-CTR from
 * counter zero under the key HMAC-SHA-256 of L. (The paper has L xor the round's key there, which
 * asks more of AES than is known of it: that related keys are unrelated.) The round's keys are
 * HKDF-SHA-256 of the data key. Why this one: docs/decisions/0009.
 */
import { createCipheriv, hash, hkdfSync } from "node:crypto";
import { assert, BLOCK_SIZE_BYTES } from "../../base/index.ts";
import type { BlockCipher } from "../../ports/index.ts";

export const DATA_KEY_BYTES = 32;
const LEFT_BYTES = 32;
const RIGHT_BYTES = BLOCK_SIZE_BYTES - LEFT_BYTES;
/** What HMAC-SHA-256 pads its key to, and the length of what it makes. */
const PAD_BYTES = 64;
const MAC_BYTES = 32;
const ROUNDS = 4;
const COUNTER_ZERO = new Uint8Array(16);
/** Another way of making keys, or another cipher, has another text. */
const KEY_CONTEXT = "drystone lioness-aes256ctr-hmacsha256 4096";

/** HMAC-SHA-256 of messages up to one length: 40 % cheaper than an object for each. */
class Mac {
  readonly #inner: Uint8Array;
  readonly #outer = new Uint8Array(PAD_BYTES + MAC_BYTES);

  constructor(key: Uint8Array, messageBytesMax: number) {
    this.#inner = new Uint8Array(PAD_BYTES + messageBytesMax);
    this.#inner.fill(0x36, 0, PAD_BYTES);
    this.#outer.fill(0x5c, 0, PAD_BYTES);
    for (let i = 0; i < key.length; i++) {
      this.#inner[i]! ^= key[i]!;
      this.#outer[i]! ^= key[i]!;
    }
  }

  of(message: Uint8Array): Uint8Array {
    this.#inner.set(message, PAD_BYTES);
    assert(message.length + PAD_BYTES === this.#inner.length, "all messages have one length");
    this.#outer.set(hash("sha256", this.#inner, "buffer"), PAD_BYTES);
    return hash("sha256", this.#outer, "buffer");
  }
}

export class WideBlockCipher implements BlockCipher {
  readonly #streamOne: Mac;
  readonly #hashTwo: Mac;
  readonly #streamThree: Mac;
  readonly #hashFour: Mac;
  readonly #left = new Uint8Array(LEFT_BYTES);

  constructor(dataKey: Uint8Array) {
    assert(dataKey.length === DATA_KEY_BYTES, "a data key has 256 bits");
    const bytes = ROUNDS * MAC_BYTES;
    const keys = new Uint8Array(hkdfSync("sha256", dataKey, "", KEY_CONTEXT, bytes));
    const keyOf = (round: number): Uint8Array =>
      keys.subarray((round - 1) * MAC_BYTES, round * MAC_BYTES);
    this.#streamOne = new Mac(keyOf(1), LEFT_BYTES);
    this.#hashTwo = new Mac(keyOf(2), RIGHT_BYTES);
    this.#streamThree = new Mac(keyOf(3), LEFT_BYTES);
    this.#hashFour = new Mac(keyOf(4), RIGHT_BYTES);
    keys.fill(0);
  }

  encrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void {
    const left = this.#takeLeft(source, sourceAt);
    let right = stream(this.#streamOne, left, rightOf(source, sourceAt));
    mix(left, this.#hashTwo.of(right));
    right = stream(this.#streamThree, left, right);
    mix(left, this.#hashFour.of(right));
    target.set(left, targetAt);
    target.set(right, targetAt + LEFT_BYTES);
  }

  decrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void {
    const left = this.#takeLeft(source, sourceAt);
    const before = rightOf(source, sourceAt);
    mix(left, this.#hashFour.of(before));
    let right = stream(this.#streamThree, left, before);
    mix(left, this.#hashTwo.of(right));
    right = stream(this.#streamOne, left, right);
    target.set(left, targetAt);
    target.set(right, targetAt + LEFT_BYTES);
  }

  #takeLeft(source: Uint8Array, at: number): Uint8Array {
    assert(at + BLOCK_SIZE_BYTES <= source.length, "there is a block");
    this.#left.set(source.subarray(at, at + LEFT_BYTES));
    return this.#left;
  }
}

function rightOf(source: Uint8Array, at: number): Uint8Array {
  return source.subarray(at + LEFT_BYTES, at + BLOCK_SIZE_BYTES);
}

/** The key serves for this block's one message only, so the counter may always begin at zero. */
function stream(key: Mac, left: Uint8Array, right: Uint8Array): Uint8Array {
  return createCipheriv("aes-256-ctr", key.of(left), COUNTER_ZERO).update(right);
}

function mix(left: Uint8Array, mac: Uint8Array): void {
  for (let i = 0; i < LEFT_BYTES; i++) left[i]! ^= mac[i]!;
}
