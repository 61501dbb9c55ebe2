/**
 * Points blocks at contents that this device holds already, for whichever component
 * (US20190227727A1). Nothing goes through the journal: the blocks are read, which shows that they
 * are good, and then, while nothing is destaged, each content that is still there gains a
 * reference, in the one metadata batch that maps the blocks. So a reference is never taken of what
 * is being freed.
 */
import { BLOCK_SIZE_BYTES, CodedError, getU40, marks } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { contentKey, CONTENT_ID_BYTES, ContentValueLayout } from "../format/index.ts";
import type { ComponentInfo } from "./component-table.ts";
import { contentIsIntact } from "./content-references.ts";
import type { DeviceState } from "./device-state.ts";
import { MapUpdate } from "./map-update.ts";
import { LOCATION_NONE } from "./pending-blocks.ts";
import type { ComponentHost } from "./store-component.ts";

/** A block that wants a content which this device had when it was looked up. */
export interface WantedBlock {
  readonly blockIndex: number;
  readonly sequence: number;
  /** Where its fingerprint is. */
  readonly dataIndex: number;
  readonly physical: number;
}

/**
 * Parts of the scratch memory: while one is fingerprinted on another thread the next are read, and
 * that thread has something to do while this one looks fingerprints up.
 */
const PARTS_AT_ONCE = 4;
/**
 * Blocks that gain their references in one go: clients' requests and other reads run in between.
 */
const REFERRED_AT_ONCE = 128;

interface PartMemory {
  readonly memory: DiskMemory;
  /** Offset of the part, in bytes. */
  readonly at: number;
}

/** Where the content with this fingerprint is, if it is here and not known to be damaged. */
export function findContent(
  { metadata, badBlocks }: DeviceState,
  fingerprints: Uint8Array,
  at: number,
): number | undefined {
  const key = contentKey(fingerprints, at);
  const value = metadata.get(key);
  if (value === undefined || !contentIsIntact(key, value)) return undefined;
  const physical = getU40(value, ContentValueLayout.at.physical);
  if (badBlocks.has(physical)) return undefined;
  const tail = ContentValueLayout.at.fingerprintTail;
  for (let i = 0; i < CONTENT_ID_BYTES; i++)
    if (value[tail + i] !== fingerprints[at + CONTENT_ID_BYTES + i]) return undefined;
  return physical;
}

export class ContentAdoption {
  readonly #host: ComponentHost;
  readonly #info: ComponentInfo;
  readonly #fingerprints: Uint8Array;
  /** Of the contents that were read whole, by physical block. */
  readonly #checksums = new Map<number, number>();

  constructor(host: ComponentHost, info: ComponentInfo, fingerprints: Uint8Array) {
    this.#host = host;
    this.#info = info;
    this.#fingerprints = fingerprints;
  }

  /**
   * Resolves, when it is durable, with the blocks whose content is not here after all. `check`
   * throws if nothing may be done any more.
   */
  async run(wanted: readonly WantedBlock[], check: () => void): Promise<WantedBlock[]> {
    const byPlace = wanted.toSorted((a, b) => a.physical - b.physical);
    const contents = byPlace.filter((one, i) => one.physical !== byPlace[i - 1]?.physical);
    await this.#host.withScratch((memory) => this.#read(contents, memory));
    const refer = (): Promise<WantedBlock[]> => this.#refer(wanted, check);
    return this.#host.state.rules.refersAlone ? await this.#host.exclusive(refer) : await refer();
  }

  async #read(contents: readonly WantedBlock[], memory: DiskMemory): Promise<void> {
    const blocksMax = memory.bytes.length / BLOCK_SIZE_BYTES / PARTS_AT_ONCE;
    let next = 0;
    const lane = async (memoryAt: number): Promise<void> => {
      while (next < contents.length) {
        const part = contents.slice(next, next + blocksMax);
        next += part.length;
        await this.#readPart(part, { memory, at: memoryAt });
      }
    };
    const lanes = Array.from({ length: PARTS_AT_ONCE }, (_none, i) =>
      lane(i * blocksMax * BLOCK_SIZE_BYTES),
    );
    // The memory is somebody else's afterwards: none may be under way then.
    for (const outcome of await Promise.allSettled(lanes))
      if (outcome.status === "rejected") throw outcome.reason;
  }

  async #readPart(part: readonly WantedBlock[], into: PartMemory): Promise<void> {
    const { digests } = this.#host.state;
    const { memory } = into;
    const isRead = await this.#readRuns(part, into);
    const offsets = Float64Array.from(part, (_one, i) => into.at + i * BLOCK_SIZE_BYTES);
    const found = new Uint8Array(part.length * FINGERPRINT_BYTES);
    await digests.fingerprint(memory, offsets, part.length, found);
    for (const [i, { physical, dataIndex }] of part.entries()) {
      const wantedAt = dataIndex * FINGERPRINT_BYTES;
      if (!isRead[i] || !isEqual(found, i * FINGERPRINT_BYTES, this.#fingerprints, wantedAt))
        continue;
      const at = offsets[i]!;
      this.#checksums.set(physical, digests.crc32c(memory.bytes, at, at + BLOCK_SIZE_BYTES));
    }
  }

  /** Neighbours on the disk in one request; one by one where that fails. */
  async #readRuns(part: readonly WantedBlock[], into: PartMemory): Promise<boolean[]> {
    const isRead = part.map(() => false);
    const reads: Promise<void>[] = [];
    for (let start = 0; start < part.length;) {
      let end = start + 1;
      while (end < part.length && part[end]!.physical === part[end - 1]!.physical + 1) end++;
      reads.push(this.#readRun(part, start, end, into, isRead));
      start = end;
    }
    await Promise.all(reads);
    return isRead;
  }

  async #readRun(
    part: readonly WantedBlock[],
    start: number,
    end: number,
    into: PartMemory,
    isRead: boolean[],
  ): Promise<void> {
    const { requests, superblock } = this.#host.state;
    const offset = superblock.blocksOffset + part[start]!.physical * BLOCK_SIZE_BYTES;
    const lengthBytes = (end - start) * BLOCK_SIZE_BYTES;
    try {
      await requests.read(into.memory, into.at + start * BLOCK_SIZE_BYTES, lengthBytes, offset);
      isRead.fill(true, start, end);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "read-error") throw error;
      if (end - start === 1) return;
      for (let at = start; at < end; at++) await this.#readRun(part, at, at + 1, into, isRead);
    }
  }

  /** Nothing is destaged meanwhile: what the maps say stays so until the batch is durable. */
  async #refer(wanted: readonly WantedBlock[], check: () => void): Promise<WantedBlock[]> {
    const { state } = this.#host;
    const missing: WantedBlock[] = [];
    const update = new MapUpdate(state);
    try {
      for (let from = 0; from < wanted.length; from += REFERRED_AT_ONCE) {
        if (from > 0) await new Promise<void>((resolve) => state.clock.after(0, resolve));
        // It may be another owner's by now. From the last piece to the batch nothing is waited for.
        check();
        for (const one of wanted.slice(from, from + REFERRED_AT_ONCE))
          if (!this.#referOne(update, one)) missing.push(one);
      }
      if (update.pageCount > 0) await update.commit(() => {});
    } catch (error) {
      update.abandon();
      throw error;
    }
    return missing;
  }

  /** False if the block still wants its content. */
  #referOne(
    update: MapUpdate,
    { blockIndex, sequence, dataIndex, physical }: WantedBlock,
  ): boolean {
    const { state } = this.#host;
    const info = this.#info;
    // What the journal holds of the block is looked at by whoever applies data.
    if (state.pending.locate(info.index, blockIndex) !== LOCATION_NONE)
      return state.pending.locatedSequence >= sequence;
    if (update.sequenceOf(info, blockIndex) >= sequence) return true;
    const { contents } = update;
    const content = contents.find(this.#fingerprints, dataIndex * FINGERPRINT_BYTES);
    // It may have been freed since it was looked up, and its block used for something else.
    const isThere = content >= 0 && contents.physicalOf(content) === physical;
    if (!isThere || state.badBlocks.has(physical)) {
      marks.hit("a content was freed while it was offered");
      return false;
    }
    const checksum = this.#checksums.get(physical);
    if (checksum === undefined) {
      const reason = "its content could not be read when another block wanted it";
      state.blockDamaged({ component: info.index, blockIndex, physical, reason });
      return false;
    }
    marks.hit("a content that was here already was referred to");
    contents.refer(content);
    update.map(info, blockIndex, sequence, { content, checksum });
    state.changeLog.note(info.index, sequence, blockIndex, 1);
    state.counters.duplicateBlocks++;
    return true;
  }
}

function isEqual(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < FINGERPRINT_BYTES; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
