/**
 * Adds to an event counter of another process without ever waiting. `write` does wait if the
 * counter is full and the descriptor blocks, and both are up to the other process, at any moment.
 * What never waits is how the kernel itself signals: so each counter gets a small io_uring that
 * signals it at every completion, and a signal is a request to do nothing.
 */
import {
  closeDescriptor,
  discardMapping,
  ioUringEnter,
  ioUringRegisterEventFd,
  ioUringSetup,
  mapAnonymous,
  mapFile,
  PAGE_BYTES,
  SystemCallError,
  unmap,
  viewMemory,
} from "../sys.ts";

const ENTRIES = 1;
const PARAMS_WORDS = 30;
const SQ_OFFSETS_WORD = 10;
const CQ_OFFSETS_WORD = 20;
const FEATURES_WORD = 5;
const FEATURE_SINGLE_MMAP = 1;
const OFFSET_SQES = 0x10000000;
const EINVAL = 22;
const EINTR = 4;
const EAGAIN = 11;
const EBUSY = 16;

const parameters: number = mapAnonymous(PAGE_BYTES);
const parameterWords = new Uint32Array(viewMemory(parameters, PAGE_BYTES), 0, PARAMS_WORDS);

const closedRings = new FinalizationRegistry<number>((address) => {
  unmap(address, PAGE_BYTES);
});

export class EventSignal {
  readonly #fd: number;
  readonly #ringAddress: number;
  readonly #entriesAddress: number;
  readonly #words: Int32Array;
  readonly #entries: Int32Array;
  readonly #sqTailWord: number;
  readonly #cqHeadWord: number;
  readonly #cqTailWord: number;
  #sqTail = 0;

  /** Fails with `SystemCallError` where io_uring does not exist or is forbidden. */
  constructor(eventFd: number) {
    parameterWords.fill(0);
    const fd = ioUringSetup(ENTRIES, parameters);
    if (fd < 0) throw new SystemCallError("io_uring_setup", -fd);
    const sq = parameterWords.slice(SQ_OFFSETS_WORD);
    const cq = parameterWords.slice(CQ_OFFSETS_WORD);
    this.#fd = fd;
    try {
      const isSingle = (parameterWords[FEATURES_WORD]! & FEATURE_SINGLE_MMAP) !== 0;
      if (!isSingle) throw new SystemCallError("io_uring_setup", EINVAL);
      ioUringRegisterEventFd(fd, eventFd);
      this.#ringAddress = mapFile(fd, 0, PAGE_BYTES);
      this.#entriesAddress = mapFile(fd, OFFSET_SQES, PAGE_BYTES);
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
    this.#words = new Int32Array(viewMemory(this.#ringAddress, PAGE_BYTES));
    this.#entries = new Int32Array(viewMemory(this.#entriesAddress, PAGE_BYTES));
    this.#sqTailWord = sq[1]! / 4;
    this.#cqHeadWord = cq[0]! / 4;
    this.#cqTailWord = cq[1]! / 4;
    // The one entry, which says: do nothing.
    this.#words[sq[6]! / 4] = 0;
    this.#entries.fill(0, 0, 16);
  }

  signal(): void {
    const words = this.#words;
    this.#sqTail = (this.#sqTail + 1) | 0;
    Atomics.store(words, this.#sqTailWord, this.#sqTail);
    for (;;) {
      const taken = ioUringEnter(this.#fd, 1, 0);
      if (taken === 1) break;
      const isPassing = taken === -EINTR || taken === -EAGAIN || taken === -EBUSY || taken === 0;
      if (!isPassing) throw new SystemCallError("io_uring_enter", -taken);
    }
    // Nobody looks at completions: they are all the same.
    Atomics.store(words, this.#cqHeadWord, Atomics.load(words, this.#cqTailWord));
  }

  close(): void {
    closeDescriptor(this.#fd);
    for (const [view, address] of [
      [this.#words, this.#ringAddress],
      [this.#entries, this.#entriesAddress],
    ] as const) {
      discardMapping(address, PAGE_BYTES);
      closedRings.register(view.buffer, address);
    }
  }
}
