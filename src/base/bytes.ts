/**
 * Little-endian integers in byte arrays, without DataView and without BigInt: 64-bit fields are
 * read and written as numbers and must stay below 2^53.
 */
import { assert } from "./assert.ts";

const TWO_32 = 2 ** 32;

export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  );
}

export function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function getU40(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + bytes[at + 4]! * TWO_32;
}

export function setU40(bytes: Uint8Array, at: number, value: number): void {
  setU32(bytes, at, value >>> 0);
  bytes[at + 4] = Math.floor(value / TWO_32);
}

export function getU48(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU16(bytes, at + 4) * TWO_32;
}

export function setU48(bytes: Uint8Array, at: number, value: number): void {
  setU32(bytes, at, value >>> 0);
  setU16(bytes, at + 4, Math.floor(value / TWO_32));
}

/** Throws if the field holds 2^53 or more: such a value was not written by us. */
export function getU64(bytes: Uint8Array, at: number): number {
  const high = getU32(bytes, at + 4);
  assert(high < 2 ** 21, "64-bit field exceeds 2^53");
  return getU32(bytes, at) + high * TWO_32;
}

export function setU64(bytes: Uint8Array, at: number, value: number): void {
  setU32(bytes, at, value >>> 0);
  setU32(bytes, at + 4, Math.floor(value / TWO_32));
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Lexicographic order, the order of keys in a metadata store. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

export function fromHex(text: string): Uint8Array {
  assert(text.length % 2 === 0 && /^[0-9a-f]*$/i.test(text), "not a hexadecimal string");
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
