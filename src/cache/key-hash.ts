/** The hash of a key of up to 53 bits, given as its halves. */

/** Multiplicative (Knuth, TAOCP 3, 6.4) over both halves; the high bits are the good ones. */
export function hashOf(low: number, high: number): number {
  const hash = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
}

/** A second opinion, independent of the first and never 0. */
export function fingerprintOf(low: number, high: number): number {
  let hash = Math.imul(high ^ Math.imul(low, 0xc2b2ae35), 0x27d4eb2f) ^ low;
  hash = Math.imul(hash ^ (hash >>> 13), 0x165667b1);
  return hash ^ (hash >>> 16) || 1;
}

export function highOf(key: number): number {
  return (key / 4294967296) | 0;
}
