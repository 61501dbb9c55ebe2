/** Parallel typed arrays, as tables have them that make no object for each row. */
type TypedArray = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

/** `to`, with as much of `from` at its beginning as fits. */
export function grown<T extends TypedArray>(to: T, from: T): T {
  to.set(from.subarray(0, Math.min(from.length, to.length)));
  return to;
}
