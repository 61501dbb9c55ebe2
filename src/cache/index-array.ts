/** Entry numbers, in the narrowest array that holds them. */
export type IndexArray = Uint16Array | Uint32Array;

/** Zero-filled; every element can hold 0 to `valueMax`. */
export function indexArray(length: number, valueMax: number): IndexArray {
  return valueMax <= 0xffff ? new Uint16Array(length) : new Uint32Array(length);
}
