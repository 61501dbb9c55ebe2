/** Bits of bytes, the lowest of each byte first. `index` must be within the bitmap. */

export function hasBit(bitmap: Uint8Array, index: number): boolean {
  return (bitmap[index >>> 3]! & (1 << (index & 7))) !== 0;
}

export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >>> 3]! |= 1 << (index & 7);
}
