/** Memory that the host process sees too, handed out in whole pages. */
import { assert, CodedError } from "../base/index.ts";

const PAGE_BYTES = 4096;

/** A piece of shared memory: what is read lands here, and what is written is taken from here. */
export interface SharedBuffer {
  readonly bytes: Uint8Array;
  /** Where it lies in the shared memory. */
  readonly at: number;
}

interface Gap {
  at: number;
  lengthBytes: number;
}

export class SharedArena {
  readonly #memory: Uint8Array;
  /** Free pieces in order, never side by side. */
  readonly #gaps: Gap[];
  readonly #lengths = new Map<number, number>();

  /** Hands out `memory` from `start` on. */
  constructor(memory: Uint8Array, start: number) {
    assert(start % PAGE_BYTES === 0 && start < memory.length, "there is memory for data");
    this.#memory = memory;
    this.#gaps = [{ at: start, lengthBytes: memory.length - start }];
  }

  /** Fails with `memory-exhausted`. */
  allocate(lengthBytes: number): SharedBuffer {
    assert(Number.isSafeInteger(lengthBytes) && lengthBytes > 0, "a buffer has a length");
    const wholeBytes = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    const index = this.#gaps.findIndex((gap) => gap.lengthBytes >= wholeBytes);
    const gap = this.#gaps[index];
    if (gap === undefined) throw exhausted(lengthBytes);
    const { at } = gap;
    gap.at += wholeBytes;
    gap.lengthBytes -= wholeBytes;
    if (gap.lengthBytes === 0) this.#gaps.splice(index, 1);
    this.#lengths.set(at, wholeBytes);
    return { bytes: this.#memory.subarray(at, at + lengthBytes), at };
  }

  /** No request with this buffer is under way any more. */
  release({ at }: SharedBuffer): void {
    const lengthBytes = this.#lengths.get(at);
    assert(lengthBytes !== undefined, "a buffer is released once");
    this.#lengths.delete(at);
    const index = this.#gaps.findIndex((gap) => gap.at > at);
    const place = index < 0 ? this.#gaps.length : index;
    this.#gaps.splice(place, 0, { at, lengthBytes });
    this.#join(place);
    if (place > 0) this.#join(place - 1);
  }

  #join(index: number): void {
    const gap = this.#gaps[index]!;
    const next = this.#gaps[index + 1];
    if (next === undefined || gap.at + gap.lengthBytes !== next.at) return;
    gap.lengthBytes += next.lengthBytes;
    this.#gaps.splice(index + 1, 1);
  }
}

function exhausted(lengthBytes: number): CodedError {
  return new CodedError({
    code: "memory-exhausted",
    message: `no ${lengthBytes} bytes of shared memory are free`,
    hint: "Release buffers, or open the volume with more memoryBytes",
  });
}
