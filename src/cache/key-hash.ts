/** The hash of a key of up to 53 bits, given as its halves. */

/**
 * Multiplicative, by the golden ratio (Knuth, TAOCP 3, 6.4): take the high bits. Neighbouring keys,
 * the usual ones, are spread more evenly than at random.
 */
export function hashOf(low: number, high: number): number {
  return Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
}

/** By how much to shift a hash to the right for so many buckets or the next power of two. */
export function hashShift(bucketCountMin: number): number {
  return Math.min(30, Math.clz32(Math.max(2, bucketCountMin) - 1));
}

export function bucketCountOf(shift: number): number {
  return 2 ** (32 - shift);
}

/** A second opinion, independent of the first and never 0. */
export function fingerprintOf(low: number, high: number): number {
  let hash = Math.imul(low ^ (low >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) ^ Math.imul(high, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x27d4eb2f);
  return hash ^ (hash >>> 15) || 1;
}

export function highOf(key: number): number {
  return (key / 4294967296) | 0;
}
