/**
 * Which requests of a queue are under way, in memory that outlives this process: the front end
 * keeps it while we are away. Whoever serves the queue next carries them out again, in their order.
 * After QEMU's docs/interop/vhost-user.rst, "Inflight I/O tracking", for split virtqueues.
 *
 * The memory is ours, but the front end has it too: what is read from it is checked like everything
 * else. The order of the writes makes it right at any moment that we may be killed; a field is
 * written by one store, because half an index is another index.
 */
import { assert } from "../../base/index.ts";
import { InflightEntryLayout, InflightHeaderLayout } from "../../format/index.ts";
import { demand } from "./violation.ts";

const HEADER_BYTES = InflightHeaderLayout.sizeBytes;
const ENTRY_BYTES = InflightEntryLayout.sizeBytes;
const VERSION = 1;
const REGION_ALIGNMENT = 64;
const TWO_16 = 2 ** 16;
const COUNTER_MAX = 2 ** 52;

// Fields as indexes of 16-bit words.
const { at: headerAt } = InflightHeaderLayout;
const { at: entryAt } = InflightEntryLayout;
const VERSION_WORD = headerAt.version / 2;
const ENTRY_COUNT_WORD = headerAt.entryCount / 2;
const LAST_HEAD_WORD = headerAt.lastHead / 2;
const USED_INDEX_WORD = headerAt.usedIndex / 2;
const UNDER_WAY_WORD = entryAt.underWay / 2;
const NEXT_WORD = entryAt.next / 2;
const COUNTER_WORD = entryAt.counter / 2;

export class InflightRegion {
  readonly #words: Uint16Array;
  readonly #entryCount: number;
  #counter = 0;
  /** Given back in this batch. */
  readonly #batch: number[] = [];

  /** Bytes for a queue of so many entries. */
  static bytesFor(entryCount: number): number {
    const bytes = HEADER_BYTES + entryCount * ENTRY_BYTES;
    return Math.ceil(bytes / REGION_ALIGNMENT) * REGION_ALIGNMENT;
  }

  constructor(words: Uint16Array, entryCount: number) {
    assert(2 * words.length >= HEADER_BYTES + entryCount * ENTRY_BYTES, "the memory is too short");
    this.#words = words;
    this.#entryCount = entryCount;
  }

  /**
   * The requests that were under way when their server went, oldest first; undefined if nobody has
   * used this memory yet. `usedIndex` is that of the used ring.
   */
  settle(usedIndex: number): readonly number[] | undefined {
    const words = this.#words;
    const version = words[VERSION_WORD]!;
    if (version === 0) {
      words[ENTRY_COUNT_WORD] = this.#entryCount;
      words[USED_INDEX_WORD] = usedIndex;
      words[VERSION_WORD] = VERSION;
      return undefined;
    }
    const entryCount = words[ENTRY_COUNT_WORD]!;
    demand(version === VERSION, `requests under way in version ${version}`);
    demand(entryCount === this.#entryCount, `requests under way of a queue of ${entryCount}`);
    this.#finishBatch(usedIndex);
    return this.#underWay();
  }

  /** The device has a request from now on. */
  taken(head: number): void {
    const entry = wordOf(head);
    const counter = ++this.#counter;
    for (let i = 0; i < 4; i++)
      this.#words[entry + COUNTER_WORD + i] = Math.floor(counter / TWO_16 ** i) % TWO_16;
    this.#words[entry + UNDER_WAY_WORD] = 1;
  }

  /** Before the used index moves. */
  given(head: number): void {
    this.#words[wordOf(head) + NEXT_WORD] = this.#words[LAST_HEAD_WORD]!;
    this.#words[LAST_HEAD_WORD] = head;
    this.#batch.push(head);
  }

  /** After the used index has moved. */
  published(usedIndex: number): void {
    for (const head of this.#batch) this.#clear(head);
    this.#batch.length = 0;
    this.#words[USED_INDEX_WORD] = usedIndex;
  }

  /** The last batch was shown to the driver, and its server went before it noted that. */
  #finishBatch(usedIndex: number): void {
    const count = (usedIndex - this.#words[USED_INDEX_WORD]!) & 0xffff;
    demand(count <= this.#entryCount, "more requests were answered than the queue has");
    let head = this.#words[LAST_HEAD_WORD]!;
    for (let i = 0; i < count; i++) {
      demand(head < this.#entryCount, "a request under way is outside of its queue");
      this.#clear(head);
      head = this.#words[wordOf(head) + NEXT_WORD]!;
    }
    this.#words[USED_INDEX_WORD] = usedIndex;
  }

  #underWay(): readonly number[] {
    const found: { readonly head: number; readonly counter: number }[] = [];
    for (let head = 0; head < this.#entryCount; head++) {
      if ((this.#words[wordOf(head) + UNDER_WAY_WORD]! & 0xff) !== 1) continue;
      found.push({ head, counter: this.#counterOf(head) });
    }
    found.sort((a, b) => a.counter - b.counter);
    const last = found.at(-1)?.counter ?? 0;
    demand(last < COUNTER_MAX, "requests under way have been counted too far");
    this.#counter = last;
    return found.map(({ head }) => head);
  }

  #counterOf(head: number): number {
    const at = wordOf(head) + COUNTER_WORD;
    let counter = 0;
    for (let i = 3; i >= 0; i--) counter = counter * TWO_16 + this.#words[at + i]!;
    return counter;
  }

  #clear(head: number): void {
    this.#words[wordOf(head) + UNDER_WAY_WORD] = 0;
  }
}

function wordOf(head: number): number {
  return (HEADER_BYTES + head * ENTRY_BYTES) / 2;
}
