/**
 * CRC32C (Castagnoli, polynomial 0x1EDC6F41, reflected 0x82F63B78), slicing by eight. Hosts have a
 * native version, checked against this one: for blocks through the `Digests` port, and for what
 * else is long by `hastenCrc32c`.
 */
const POLYNOMIAL_REFLECTED = 0x82f63b78;
const SLICES = 8;
/** From here on native code takes less time, with what it costs to call it. */
const HASTENED_BYTES_MIN = 256;

/** Continues the checksum `seed` with `bytes[start..end)`. */
type Crc32c = (bytes: Uint8Array, start: number, end: number, seed: number) => number;

function buildTables(): Uint32Array {
  const tables = new Uint32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL_REFLECTED : 0);
    tables[byte] = crc >>> 0;
  }
  for (let slice = 1; slice < SLICES; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const previous = tables[(slice - 1) * 256 + byte]!;
      tables[slice * 256 + byte] = (previous >>> 8) ^ tables[previous & 255]!;
    }
  }
  return tables;
}

const TABLES = buildTables();

let hastened: Crc32c | undefined;

/** From now on `native` computes checksums of long pieces in this thread: it agrees with ours. */
export function hastenCrc32c(native: Crc32c): void {
  hastened = native;
}

/** Checksum of `bytes[start..end)`. `seed` continues an earlier checksum. */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length, seed = 0): number {
  if (hastened !== undefined && end - start >= HASTENED_BYTES_MIN)
    return hastened(bytes, start, end, seed);
  return portableCrc32c(bytes, start, end, seed);
}

export function portableCrc32c(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
  seed = 0,
): number {
  const t = TABLES;
  let crc = ~seed;
  let at = start;
  for (const last = end - 7; at < last; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t[1792 + (crc & 255)]! ^
      t[1536 + ((crc >>> 8) & 255)]! ^
      t[1280 + ((crc >>> 16) & 255)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 255]!;
  return ~crc >>> 0;
}
