/**
 * Keys of a device's metadata store. One byte names the table, numbers follow big-endian so that
 * the store's order is the natural one. Every value ends with a CRC32C over key and value: a value
 * that was damaged, or that sits under another key than it was written for, is never believed.
 */
import { assert, crc32c, getU32, setU32 } from "../base/index.ts";

export const TABLE_CHECKPOINT = 0x43;
export const TABLE_COMPONENT = 0x4b;
export const TABLE_LOGICAL = 0x4c;
export const TABLE_REGIONS = 0x52;
export const TABLE_CONTENT = 0x46;
export const TABLE_SPACE = 0x53;
export const TABLE_BAD_BLOCK = 0x42;
export const TABLE_READ_THROUGH = 0x54;

export const VALUE_CHECKSUM_BYTES = 4;

function setBigEndian(target: Uint8Array, at: number, sizeBytes: number, value: number): void {
  let rest = value;
  for (let i = sizeBytes - 1; i >= 0; i--) {
    target[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  assert(rest === 0, "number does not fit into its key");
}

export function getBigEndian(source: Uint8Array, at: number, sizeBytes: number): number {
  let value = 0;
  for (let i = 0; i < sizeBytes; i++) value = value * 256 + source[at + i]!;
  return value;
}

export function checkpointKey(): Uint8Array {
  return Uint8Array.of(TABLE_CHECKPOINT);
}

export function componentKey(component: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = TABLE_COMPONENT;
  setBigEndian(key, 1, 4, component);
  return key;
}

/** Key of a logical-map page. `into` is reused on hot paths. */
export function logicalKey(
  component: number,
  page: number,
  into: Uint8Array = new Uint8Array(9),
): Uint8Array {
  into[0] = TABLE_LOGICAL;
  setBigEndian(into, 1, 4, component);
  setBigEndian(into, 5, 4, page);
  return into;
}

export function regionsKey(component: number, group: number): Uint8Array {
  const key = new Uint8Array(9);
  key[0] = TABLE_REGIONS;
  setBigEndian(key, 1, 4, component);
  setBigEndian(key, 5, 4, group);
  return key;
}

/** Key of a content-map entry: the content id is the first 16 bytes of the fingerprint. */
export function contentKey(
  id: Uint8Array,
  at: number,
  into: Uint8Array = new Uint8Array(17),
): Uint8Array {
  into[0] = TABLE_CONTENT;
  for (let i = 0; i < 16; i++) into[1 + i] = id[at + i]!;
  return into;
}

export function spaceKey(group: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = TABLE_SPACE;
  setBigEndian(key, 1, 4, group);
  return key;
}

export function badBlockKey(block: number): Uint8Array {
  const key = new Uint8Array(7);
  key[0] = TABLE_BAD_BLOCK;
  setBigEndian(key, 1, 6, block);
  return key;
}

export function readThroughKey(): Uint8Array {
  return Uint8Array.of(TABLE_READ_THROUGH);
}

export function readUntilKey(): Uint8Array {
  return Uint8Array.of(TABLE_READ_THROUGH, 1);
}

/** The exclusive upper bound of a scan over every key that begins with `prefix`. */
export function keyAfterPrefix(prefix: Uint8Array): Uint8Array {
  const bound = prefix.slice();
  for (let i = bound.length - 1; i >= 0; i--) {
    bound[i] = (bound[i]! + 1) & 255;
    if (bound[i] !== 0) return bound.subarray(0, i + 1);
  }
  return Uint8Array.of(255, 255);
}

/** Writes the checksum into the last four bytes of `value`. */
export function sealValue(key: Uint8Array, value: Uint8Array): void {
  const end = value.length - VALUE_CHECKSUM_BYTES;
  setU32(value, end, crc32c(value, 0, end, crc32c(key)));
}

export function valueIsIntact(key: Uint8Array, value: Uint8Array): boolean {
  const end = value.length - VALUE_CHECKSUM_BYTES;
  return end >= 0 && getU32(value, end) === crc32c(value, 0, end, crc32c(key));
}
