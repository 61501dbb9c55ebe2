/** Moves versions of blocks from members that have them to one that has not. */
import { assert, BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, ChangeBatchBuilder } from "../store/index.ts";
import type { Component, ComponentFault } from "../store/index.ts";
import type { Legs, ObjectMember } from "./legs.ts";
import { TRANSFER_BLOCKS_MAX } from "./transfer-memory.ts";
import type { TransferMemory } from "./transfer-memory.ts";

/** Longest read of a component, in blocks. */
const READ_BLOCKS_MAX = 256;
assert(TRANSFER_BLOCKS_MAX <= CHANGE_BLOCKS_MAX, "a transfer is one batch");

/** One block's version, wanted by a member. */
export interface BlockCopy {
  readonly objectBlock: number;
  readonly targetBlock: number;
  readonly sequence: number;
  readonly kind: number;
  /** Who has this version. Otherwise any active member but the target has it. */
  readonly source?: ObjectMember;
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
    assert(copies.length <= TRANSFER_BLOCKS_MAX, "too many blocks at once");
    return this.#memory.use((memory) => this.#copy(target, copies, memory));
  }

  async #copy(
    target: ObjectMember,
    copies: readonly BlockCopy[],
    memory: DiskMemory,
  ): Promise<number> {
    const builder = new ChangeBatchBuilder();
    let at = 0;
    for (let i = 0; i < copies.length;) {
      const length = this.#runAt(copies, i);
      const { targetBlock, sequence, kind } = copies[i]!;
      builder.add(targetBlock, length, sequence, kind);
      if (kind === CHANGE_DATA) {
        await this.#read(target, copies[i]!, length, { memory, at });
        at += length * BLOCK_SIZE_BYTES;
      }
      i += length;
    }
    const payload = memory.bytes.subarray(0, at);
    await reachable(target).apply(this.#epoch, builder.finish(-1, true), payload);
    return at;
  }

  /** Copies from `start` on that are neighbours everywhere and of one transaction. */
  #runAt(copies: readonly BlockCopy[], start: number): number {
    const first = copies[start]!;
    const run = this.#legs.runBlocks(first.objectBlock);
    const limit = Math.min(copies.length - start, READ_BLOCKS_MAX, run);
    let length = 1;
    while (length < limit) {
      const next = copies[start + length]!;
      if (next.objectBlock !== first.objectBlock + length) break;
      if (next.targetBlock !== first.targetBlock + length) break;
      if (next.sequence !== first.sequence || next.kind !== first.kind) break;
      if (next.source !== first.source) break;
      length++;
    }
    return length;
  }

  async #read(
    target: ObjectMember,
    copy: BlockCopy,
    count: number,
    into: { readonly memory: DiskMemory; readonly at: number },
  ): Promise<void> {
    let last: CodedError | undefined;
    for (let leg = 0; leg < this.#legs.count; leg++) {
      const { layout } = this.#legs.legs[leg]!;
      const member = this.#legs.legs[leg]!.memberAt(copy.objectBlock);
      const isWanted = copy.source === undefined || copy.source === member;
      if (!isWanted || member === target || member.role !== "active") continue;
      try {
        const block = layout.componentBlockOf(copy.objectBlock);
        await readBlocks(reachable(member), into.memory, into.at, block, count);
        return;
      } catch (error) {
        if (!(error instanceof CodedError) || error.code === "fenced") throw error;
        last = error;
      }
    }
    throw last ?? new CodedError({ code: "unreachable", message: "no copy can be reached" });
  }
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
