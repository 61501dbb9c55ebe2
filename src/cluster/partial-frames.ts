/**
 * What connections hold of frames that have not come whole, all of them together. Beyond the limit
 * the frame that was begun first has had the most time: its connection ends.
 */
export interface HoldingConnection {
  destroy(reason: string): void;
}

export class PartialFrames {
  readonly #bytesMax: number;
  /** Those that hold something, the longest first. */
  readonly #held = new Map<HoldingConnection, number>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** From now on the connection holds so many bytes of the frame that it held something of. */
  hold(connection: HoldingConnection, bytes: number): void {
    this.#bytes += bytes - (this.#held.get(connection) ?? 0);
    this.#held.set(connection, bytes);
    while (this.#bytes > this.#bytesMax) {
      const [first] = this.#held.keys();
      if (first === undefined) return;
      this.release(first);
      first.destroy("too much is held of frames that have not come whole");
    }
  }

  /** It holds nothing: its frame has come whole, or it has ended. */
  release(connection: HoldingConnection): void {
    this.#bytes -= this.#held.get(connection) ?? 0;
    this.#held.delete(connection);
  }
}
