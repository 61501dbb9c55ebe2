/** Moves versions of blocks from members that have them to one that has not. */
import { assert, BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, ChangeBatchBuilder } from "../store/index.ts";
import type { Component, ComponentFault } from "../store/index.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import { TRANSFER_BLOCKS_MAX } from "./transfer-memory.ts";
import type { TransferMemory } from "./transfer-memory.ts";

/** Longest read of a component, in blocks. */
const READ_BLOCKS_MAX = 256;
assert(TRANSFER_BLOCKS_MAX <= CHANGE_BLOCKS_MAX, "a transfer is one batch");

/** Versions of neighbouring blocks of one transaction, wanted by a member. */
export interface BlockCopy {
  readonly objectBlock: number;
  readonly targetBlock: number;
  readonly blockCount: number;
  readonly sequence: number;
  readonly kind: number;
  /** Who has these versions. Otherwise any active member but the target has them. */
  readonly source?: ObjectMember;
  /** Of those who have them. Otherwise the near ones come first. */
  readonly askedFirst?: ObjectMember;
}

export function blocksOf(copies: readonly BlockCopy[]): number {
  return copies.reduce((sum, { blockCount }) => sum + blockCount, 0);
}

interface WantedFrom {
  readonly block: number;
  readonly source: ObjectMember | undefined;
  readonly askedFirst: ObjectMember | undefined;
}

/** Any number of copies may be under way at once. */
export class BlockTransfer {
  readonly #legs: Legs<Component>;
  readonly #epoch: number;
  readonly #memory: TransferMemory;

  constructor(legs: Legs<Component>, epoch: number, memory: TransferMemory) {
    this.#legs = legs;
    this.#epoch = epoch;
    this.#memory = memory;
  }

  /**
   * Copies in the order of their target blocks; resolves with the bytes of data sent, when they are
   * durable. Fails with the fault of a component.
   */
  send(target: ObjectMember, copies: readonly BlockCopy[]): Promise<number> {
    assert(blocksOf(copies) <= TRANSFER_BLOCKS_MAX, "too many blocks at once");
    return this.#memory.use((memory) => this.#copy(target, copies, memory));
  }

  async #copy(
    target: ObjectMember,
    copies: readonly BlockCopy[],
    memory: DiskMemory,
  ): Promise<number> {
    const builder = new ChangeBatchBuilder();
    for (const { targetBlock, blockCount, sequence, kind } of copies)
      builder.add(targetBlock, blockCount, sequence, kind);
    const data = copies.filter(({ kind }) => kind === CHANGE_DATA);
    const reads: Promise<void>[] = [];
    let at = 0;
    for (let first = 0, end = 0; first < data.length; first = end) {
      let count = data[first]!.blockCount;
      for (end = first + 1; end < data.length && continues(data, end); end++)
        count += data[end]!.blockCount;
      reads.push(...this.#readRange(target, data[first]!, count, { memory, at }));
      at += count * BLOCK_SIZE_BYTES;
    }
    // The memory is somebody else's afterwards: none may be under way then.
    const outcomes = await Promise.allSettled(reads);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    const payload = memory.bytes.subarray(0, at);
    await reachable(target).apply(this.#epoch, builder.finish(-1, true), payload);
    return at;
  }

  /**
   * Blocks from that of `copy` on, whichever transactions they are of, in as few reads as can be.
   */
  #readRange(
    target: ObjectMember,
    { objectBlock, source, askedFirst }: BlockCopy,
    count: number,
    { memory, at }: { readonly memory: DiskMemory; readonly at: number },
  ): Promise<void>[] {
    const reads: Promise<void>[] = [];
    for (let done = 0; done < count;) {
      const block = objectBlock + done;
      const part = Math.min(count - done, READ_BLOCKS_MAX, this.#legs.runBlocks(block));
      const into = { memory, at: at + done * BLOCK_SIZE_BYTES };
      reads.push(this.#read(target, { block, source, askedFirst }, part, into));
      done += part;
    }
    return reads;
  }

  async #read(
    target: ObjectMember,
    from: WantedFrom,
    count: number,
    into: { readonly memory: DiskMemory; readonly at: number },
  ): Promise<void> {
    let last: CodedError | undefined;
    for (const leg of this.#legsFor(from)) {
      const member = leg.memberAt(from.block);
      const isWanted = from.source === undefined || from.source === member;
      if (!isWanted || member === target || member.role !== "active") continue;
      try {
        const block = leg.layout.componentBlockOf(from.block);
        await readBlocks(reachable(member), into.memory, into.at, block, count);
        return;
      } catch (error) {
        if (!(error instanceof CodedError) || error.code === "fenced") throw error;
        last = error;
      }
    }
    throw last ?? new CodedError({ code: "unreachable", message: "no copy can be reached" });
  }

  #legsFor({ block, askedFirst }: WantedFrom): readonly Leg<Component>[] {
    const { inReadOrder } = this.#legs;
    const first = inReadOrder.find((leg) => leg.memberAt(block) === askedFirst);
    if (first === undefined) return inReadOrder;
    return [first, ...inReadOrder.filter((leg) => leg !== first)];
  }
}

/** Whether this one's blocks are read in one piece with those of the one before. */
function continues(copies: readonly BlockCopy[], index: number): boolean {
  const before = copies[index - 1]!;
  const copy = copies[index]!;
  const isNext = copy.objectBlock === before.objectBlock + before.blockCount;
  return isNext && copy.source === before.source && copy.askedFirst === before.askedFirst;
}

/** Fails with the component's fault as its code. */
export async function readBlocks(
  component: Component,
  memory: DiskMemory,
  at: number,
  blockIndex: number,
  blockCount: number,
): Promise<void> {
  const fault = await new Promise<ComponentFault | undefined>((resolve) => {
    const done = (_token: number, answer: ComponentFault | undefined): void => resolve(answer);
    component.read(memory, at, blockIndex, blockCount, done, 0);
    component.submit();
  });
  if (fault === undefined) return;
  throw new CodedError({
    code: fault,
    message: `component ${component.componentId} cannot read block ${blockIndex}: ${fault}`,
  });
}

export function reachable(member: ObjectMember): Component {
  if (member.component !== undefined) return member.component;
  throw new CodedError({
    code: "unreachable",
    message: `component ${member.componentId} cannot be reached`,
  });
}
