/**
 * Assertions stay on in production: a broken invariant stops the work before it reaches a disk.
 * They are for bugs. A failure of the outside world is a `CodedError` or a fault code instead.
 */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/**
 * For values that the types allow and the invariants do not, such as array elements known to exist.
 */
export function assertDefined<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new AssertionError(message);
  return value;
}

export function unreachable(value: never, message: string): never {
  throw new AssertionError(`${message}: ${String(value)}`);
}
