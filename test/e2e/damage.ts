/**
 * Damages stored data from outside, as a failing disk would: found by content, one bit at a time.
 */
import * as fs from "node:fs";
import * as path from "node:path";

export interface Place {
  readonly file: string;
  readonly offset: number;
}

const CHUNK_BYTES = 4 << 20;

/** Every place below a folder where the bytes stand, in the order of files and offsets. */
export function placesOf(folder: string, wanted: Buffer): Place[] {
  return regularFiles(folder).flatMap((file) => placesInFile(file, wanted));
}

export function regularFiles(folder: string): string[] {
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) return regularFiles(name);
    return entry.isFile() ? [name] : [];
  });
}

function placesInFile(file: string, wanted: Buffer): Place[] {
  const places: Place[] = [];
  const handle = fs.openSync(file, "r");
  try {
    const { size } = fs.fstatSync(handle);
    // Chunks overlap by what one occurrence may lack.
    const buffer = Buffer.alloc(CHUNK_BYTES + wanted.length - 1);
    for (let start = 0; start < size; start += CHUNK_BYTES) {
      const length = fs.readSync(handle, buffer, 0, buffer.length, start);
      const chunk = buffer.subarray(0, length);
      for (let at = chunk.indexOf(wanted); at >= 0; at = chunk.indexOf(wanted, at + 1)) {
        places.push({ file, offset: start + at });
      }
    }
  } finally {
    fs.closeSync(handle);
  }
  return places;
}

/** Turns one bit of the byte at `place.offset + byteIndex` over. */
export function flipBit(place: Place, byteIndex = 0, bit = 0): void {
  const handle = fs.openSync(place.file, "r+");
  try {
    const byte = Buffer.alloc(1);
    fs.readSync(handle, byte, 0, 1, place.offset + byteIndex);
    byte[0]! ^= 1 << bit;
    fs.writeSync(handle, byte, 0, 1, place.offset + byteIndex);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}
