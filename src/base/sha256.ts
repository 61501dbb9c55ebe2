/**
 * SHA-256 (FIPS 180-4), portable: for simulations and browsers. Hosts use a native one through the
 * `Digests` port, checked against this one.
 */
import { assert } from "./assert.ts";

export const SHA256_BYTES = 32;
const CHUNK_BYTES = 64;

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUND_CONSTANTS = fractions(64, (prime) => cubeRootFraction(prime));
/** The same of the square roots of the first 8 primes. */
const INITIAL = fractions(8, (prime) => squareRootFraction(prime));

/** One at a time: a message is hashed in one call, so the work areas are shared by all calls. */
const schedule = new Int32Array(64);
const state = new Int32Array(8);
const tail = new Uint8Array(2 * CHUNK_BYTES);

/** Writes the 32 bytes of the digest of `bytes[start..end)` to `target` at `targetAt`. */
export function sha256(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
  target: Uint8Array = new Uint8Array(SHA256_BYTES),
  targetAt = 0,
): Uint8Array {
  assert(start >= 0 && start <= end && end <= bytes.length, "the range leaves the bytes");
  assert(targetAt + SHA256_BYTES <= target.length, "no room for the digest");
  state.set(INITIAL);
  const whole = end - ((end - start) % CHUNK_BYTES);
  for (let at = start; at < whole; at += CHUNK_BYTES) compress(bytes, at);
  const rest = end - whole;
  tail.fill(0);
  tail.set(bytes.subarray(whole, end));
  tail[rest] = 0x80;
  const tailBytes = rest + 9 <= CHUNK_BYTES ? CHUNK_BYTES : 2 * CHUNK_BYTES;
  setBigEndian(tail, tailBytes - 8, Math.floor((end - start) / 2 ** 29));
  setBigEndian(tail, tailBytes - 4, (end - start) << 3);
  for (let at = 0; at < tailBytes; at += CHUNK_BYTES) compress(tail, at);
  for (let i = 0; i < 8; i++) setBigEndian(target, targetAt + 4 * i, state[i]!);
  return target;
}

function setBigEndian(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function expand(bytes: Uint8Array, at: number): void {
  const w = schedule;
  for (let i = 0; i < 16; i++) {
    const b = at + 4 * i;
    w[i] = (bytes[b]! << 24) | (bytes[b + 1]! << 16) | (bytes[b + 2]! << 8) | bytes[b + 3]!;
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!;
    const y = w[i - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = w[i - 16]! + s0 + w[i - 7]! + s1;
  }
}

function compress(bytes: Uint8Array, at: number): void {
  expand(bytes, at);
  const w = schedule;
  const k = ROUND_CONSTANTS;
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i]! + w[i]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}

function fractions(count: number, fraction: (prime: number) => number): Int32Array {
  const values = new Int32Array(count);
  let prime = 2;
  for (let i = 0; i < count; prime++) {
    if (isPrime(prime)) values[i++] = fraction(prime);
  }
  return values;
}

function isPrime(value: number): boolean {
  for (let factor = 2; factor * factor <= value; factor++) if (value % factor === 0) return false;
  return true;
}

/**
 * Roots by whole numbers, because `Math.cbrt` may differ in its last bit from one engine to the
 * next.
 */
function rootFraction(value: bigint, power: bigint): number {
  const scaled = value << (32n * power);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** power <= scaled) low = middle;
    else high = middle;
  }
  return Number(low & 0xffff_ffffn) | 0;
}

function cubeRootFraction(prime: number): number {
  return rootFraction(BigInt(prime), 3n);
}

function squareRootFraction(prime: number): number {
  return rootFraction(BigInt(prime), 2n);
}
