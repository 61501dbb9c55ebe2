/**
 * What map updates touch while somebody walks over the maps in many turns. What they touched may
 * have been seen before and after the change, so that nothing follows from it; of all else the walk
 * saw one state. Updates tell before their batch can be read, whether it is committed or not.
 *
 * To begin when no update is under way: `Destager.exclusive`.
 */
export class MapWatch {
  /** Of the block store. */
  readonly first: number;
  readonly blockCount: number;
  readonly #blocks: Uint8Array;
  readonly #components = new Set<number>();

  /** Of `blockCount` blocks from `first` on, and of all components. */
  constructor(first: number, blockCount: number) {
    this.first = first;
    this.blockCount = blockCount;
    this.#blocks = new Uint8Array(Math.ceil(blockCount / 8));
  }

  /** Bytes that watching so many blocks takes. */
  static bytesFor(blockCount: number): number {
    return Math.ceil(blockCount / 8);
  }

  /** A pointer to the block, or the content that has it, is about to change. */
  noteBlock(physical: number): void {
    const at = physical - this.first;
    if (at < 0 || at >= this.blockCount) return;
    this.#blocks[at >>> 3]! |= 1 << (at & 7);
  }

  /** Pages of the component are about to change. */
  noteComponent(index: number): void {
    this.#components.add(index);
  }

  hasBlock(physical: number): boolean {
    const at = physical - this.first;
    return (this.#blocks[at >>> 3]! & (1 << (at & 7))) !== 0;
  }

  hasComponent(index: number): boolean {
    return this.#components.has(index);
  }

  /** What came so far does not matter: what is seen of the component comes after it. */
  forgetComponent(index: number): void {
    this.#components.delete(index);
  }
}
