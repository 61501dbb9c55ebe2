/**
 * Keys of up to 53 bits as halves of 32 and 21, and their hashes.
 *
 * The mix of a key is 32 bits that stand for it where a mistake, once in billions of cases, does no
 * harm; for keys below 2^32 it is the key itself. Its hash is multiplicative, by the golden ratio
 * (Knuth, TAOCP 3, 6.4): take the high bits. Neighbouring keys, the usual ones, are spread more
 * evenly than at random.
 */
export function highOf(key: number): number {
  return (key / 4294967296) | 0;
}

export function mixOf(low: number, high: number): number {
  return low ^ Math.imul(high, 0x85ebca6b);
}

/** Stands for the mix 0 where 0 means none. */
export const MIX_OF_ZERO: number = 0x9e3779b1 | 0;

export function hashOf(mix: number): number {
  return Math.imul(mix, 0x9e3779b1);
}

/** By how much to shift a hash to the right for so many buckets or the next power of two. */
export function hashShift(bucketCountMin: number): number {
  return Math.min(30, Math.clz32(Math.max(2, bucketCountMin) - 1));
}

export function bucketCountOf(shift: number): number {
  return 2 ** (32 - shift);
}
