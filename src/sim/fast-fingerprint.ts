/**
 * A 256-bit hash that is quick in plain JavaScript, for sweeps that hash millions of blocks. It
 * tells blocks apart that differ by chance; against somebody who looks for collisions it is worth
 * nothing. Eight lanes of MurmurHash3's step (Appleby, 2011), each over every eighth word, then
 * mixed into one another.
 */
import { assert, setU32 } from "../base/index.ts";

const LANES = 8;
const lanes = new Uint32Array(LANES);

/** Lengths are multiples of 32; `start` is aligned to 4 bytes in its buffer. */
export function fastFingerprint(
  bytes: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  targetAt: number,
): void {
  assert((bytes.byteOffset + start) % 4 === 0, "words must be aligned");
  assert((end - start) % (4 * LANES) === 0, "a whole number of words per lane");
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + start, (end - start) / 4);
  for (let lane = 0; lane < LANES; lane++) {
    let hash = Math.imul(lane + 1, 0x9e3779b9);
    for (let at = lane; at < words.length; at += LANES) {
      let word = Math.imul(words[at]!, 0xcc9e2d51);
      word = Math.imul((word << 15) | (word >>> 17), 0x1b873593);
      hash ^= word;
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    lanes[lane] = hash;
  }
  mix();
  for (let lane = 0; lane < LANES; lane++) setU32(target, targetAt + 4 * lane, lanes[lane]!);
}

/**
 * Each lane takes up all others; the steps can be undone, so nothing that differed becomes equal.
 */
function mix(): void {
  for (let round = 0; round < 2 * LANES; round++) {
    const at = round % LANES;
    let hash = lanes[at]! ^ Math.imul(lanes[(at + LANES - 1) % LANES]!, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    lanes[at] = hash ^ (hash >>> 16);
  }
}
