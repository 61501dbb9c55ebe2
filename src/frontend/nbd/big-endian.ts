/** Big-endian integers in byte arrays: the order of the NBD protocol. No DataView, no BigInt. */
import { assert } from "../../base/index.ts";

const TWO_32 = 2 ** 32;

export function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  );
}

export function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Exact below 2^53; above it rounded, so compare it with a limit before anything else. */
export function getU64Rounded(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) * TWO_32 + getU32(bytes, at + 4);
}

export function setU64(bytes: Uint8Array, at: number, value: number): void {
  assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, "64-bit field out of range");
  setU32(bytes, at, Math.floor(value / TWO_32));
  setU32(bytes, at + 4, value >>> 0);
}
