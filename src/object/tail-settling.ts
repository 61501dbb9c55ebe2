/**
 * Makes the active members equal after a change of owner. A transaction that any of them has
 * prepared may have been acknowledged, so it is rolled forward to all; one that none of them has
 * never happened. Only what is newer than the lowest sequence that all know as committed can
 * differ, and for each such block the newest version wins: every leg gets it.
 *
 * The changes of all members come as streams in the order of the object's blocks, merged here, so
 * that memory is bounded however long the tail.
 */
import { assertDefined, marks } from "../base/index.ts";
import { CHANGE_BLOCKS_MAX } from "../store/index.ts";
import type { ChangeBatch, Component, ComponentOpening } from "../store/index.ts";
import { BlockTransfer, reachable } from "./block-transfer.ts";
import type { BlockCopy } from "./block-transfer.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import { TRANSFER_BLOCKS_MAX } from "./transfer-memory.ts";
import type { TransferMemory } from "./transfer-memory.ts";

export interface TailBounds {
  /** Everything up to here is in every active member. */
  readonly committed: number;
  /** Nothing above is in any of them. */
  readonly prepared: number;
}

/** What the answers of the active members say. */
export function tailBounds(openings: readonly ComponentOpening[]): TailBounds {
  return {
    committed: Math.min(...openings.map((opening) => opening.committedSequence)),
    prepared: Math.max(
      ...openings.map((one) => Math.max(one.preparedSequence, one.committedSequence)),
    ),
  };
}

/** Resolves with the number of blocks that were copied. Fails with the fault of a component. */
export async function settleTail(
  legs: Legs<Component>,
  epoch: number,
  bounds: TailBounds,
  memory: TransferMemory,
): Promise<number> {
  if (bounds.prepared <= bounds.committed) return 0;
  const streams: MemberStream[] = [];
  for (const leg of legs.legs)
    for (const [column, member] of leg.members.entries())
      if (member.role === "active")
        streams.push(new MemberStream(leg, column, member, { epoch, since: bounds.committed }));
  if (new Set(streams.map((stream) => stream.leg)).size < 2) return 0;
  marks.hit("a tail was settled");
  return await new TailMerge(legs, streams, new BlockTransfer(legs, epoch, memory)).run();
}

class TailMerge {
  readonly #legs: Legs<Component>;
  readonly #streams: readonly MemberStream[];
  readonly #transfer: BlockTransfer;
  readonly #waiting = new Map<ObjectMember, BlockCopy[]>();
  #copied = 0;

  constructor(legs: Legs<Component>, streams: readonly MemberStream[], transfer: BlockTransfer) {
    this.#legs = legs;
    this.#streams = streams;
    this.#transfer = transfer;
  }

  async run(): Promise<number> {
    for (const stream of this.#streams) await stream.advance();
    for (;;) {
      let block = Infinity;
      for (const stream of this.#streams) block = Math.min(block, stream.objectBlock);
      if (block === Infinity) break;
      const here = this.#streams.filter((stream) => stream.objectBlock === block);
      await this.#level(block, here);
      for (const stream of here) await stream.advance();
    }
    for (const target of this.#waiting.keys()) await this.#flush(target);
    return this.#copied;
  }

  /** Has the newest version of the block copied to each leg that does not have it. */
  async #level(objectBlock: number, here: readonly MemberStream[]): Promise<void> {
    const newest = here.reduce((best, one) => (one.sequence > best.sequence ? one : best));
    for (const leg of this.#legs.legs) {
      const target = leg.memberAt(objectBlock);
      if (target.role !== "active") continue;
      const own = here.find((stream) => stream.leg === leg);
      if (own?.sequence === newest.sequence) continue;
      const copies = this.#waiting.get(target) ?? [];
      copies.push({
        objectBlock,
        targetBlock: leg.layout.componentBlockOf(objectBlock),
        blockCount: 1,
        sequence: newest.sequence,
        kind: newest.kind,
        source: newest.member,
      });
      this.#waiting.set(target, copies);
      if (copies.length === TRANSFER_BLOCKS_MAX) await this.#flush(target);
    }
  }

  async #flush(target: ObjectMember): Promise<void> {
    const copies = this.#waiting.get(target) ?? [];
    this.#waiting.set(target, []);
    if (copies.length > 0) await this.#transfer.send(target, copies);
    this.#copied += copies.length;
  }
}

/** The changes of one member, block by block, in the object's order. */
class MemberStream {
  readonly leg: Leg<Component>;
  readonly member: ObjectMember;
  /** Infinity at the end. */
  objectBlock = -1;
  sequence = 0;
  kind = 0;
  readonly #column: number;
  readonly #from: { readonly epoch: number; readonly since: number };
  #batch: ChangeBatch | undefined;
  #run = 0;
  #offset = 0;
  #nextBlock = 0;

  constructor(
    leg: Leg<Component>,
    column: number,
    member: ObjectMember,
    from: { readonly epoch: number; readonly since: number },
  ) {
    this.leg = leg;
    this.member = member;
    this.#column = column;
    this.#from = from;
  }

  async advance(): Promise<void> {
    while (this.#batch === undefined || this.#run >= this.#batch.starts.length) {
      if (this.#nextBlock < 0) {
        this.objectBlock = Infinity;
        return;
      }
      const component = reachable(this.member);
      this.#batch = await component.changes({
        ...this.#from,
        fromBlock: this.#nextBlock,
        toBlock: component.blockCount,
        blocksMax: CHANGE_BLOCKS_MAX,
        withFingerprints: false,
      });
      this.#nextBlock = this.#batch.nextBlock;
      this.#run = 0;
      this.#offset = 0;
    }
    const batch = this.#batch;
    const start = assertDefined(batch.starts[this.#run], "a run has a start");
    this.objectBlock = this.leg.layout.objectBlockOf(this.#column, start + this.#offset);
    this.sequence = batch.sequences[this.#run]!;
    this.kind = batch.kinds[this.#run]!;
    if (++this.#offset < batch.counts[this.#run]!) return;
    this.#run++;
    this.#offset = 0;
  }
}
