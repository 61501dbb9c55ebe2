/** What both ends of a link have to agree on about components. */
import { assertDefined, setU32, setU40, setU48 } from "../base/index.ts";
import {
  LINK_COMMIT,
  LINK_PREPARE,
  LINK_READ,
  LinkCommitLayout,
  LinkPrepareLayout,
  LinkReadLayout,
} from "../format/index.ts";
import type { Link } from "../link/index.ts";
import type { ComponentFault, Transaction, TransactionKind } from "../store/index.ts";

export const FAULTS: readonly (ComponentFault | undefined)[] = [
  undefined,
  "fenced",
  "no-space",
  "read-error",
  "write-error",
  "unreachable",
];
const KINDS: readonly (TransactionKind | undefined)[] = [undefined, "data", "zero", "discard"];

export function faultNumber(fault: ComponentFault | undefined): number {
  return FAULTS.indexOf(fault);
}

export function kindOf(number: number): TransactionKind | undefined {
  return KINDS[number];
}

/** Longest read and longest payload, in blocks. */
export const WIRE_BLOCKS_MAX = 256;

/** Returns nothing before the payload was copied. */
export function sendPrepare(
  link: Link,
  requestId: number,
  handle: number,
  transaction: Transaction,
  payloadBytes: number,
): void {
  const at = LinkPrepareLayout.at;
  const room = link.message(LINK_PREPARE, requestId, LinkPrepareLayout.sizeBytes + payloadBytes);
  setU32(room.bytes, room.at + at.handle, handle);
  room.bytes[room.at + at.kind] = KINDS.indexOf(transaction.kind);
  setU48(room.bytes, room.at + at.epoch, transaction.epoch);
  setU48(room.bytes, room.at + at.sequence, transaction.sequence);
  setU40(room.bytes, room.at + at.blockIndex, transaction.blockIndex);
  setU32(room.bytes, room.at + at.blockCount, transaction.blockCount);
  if (payloadBytes === 0) return;
  const { source, sourceAt } = transaction;
  const payload = source.subarray(sourceAt, sourceAt + payloadBytes);
  room.bytes.set(payload, room.at + LinkPrepareLayout.sizeBytes);
}

export function sendRead(
  link: Link,
  requestId: number,
  handle: number,
  blockIndex: number,
  blockCount: number,
): void {
  const at = LinkReadLayout.at;
  const room = link.message(LINK_READ, requestId, LinkReadLayout.sizeBytes);
  setU32(room.bytes, room.at + at.handle, handle);
  setU40(room.bytes, room.at + at.blockIndex, blockIndex);
  setU32(room.bytes, room.at + at.blockCount, blockCount);
}

export function sendCommit(link: Link, handle: number, epoch: number, sequence: number): void {
  const at = LinkCommitLayout.at;
  const room = link.message(LINK_COMMIT, 0, LinkCommitLayout.sizeBytes);
  setU32(room.bytes, room.at + at.handle, handle);
  setU48(room.bytes, room.at + at.epoch, epoch);
  setU48(room.bytes, room.at + at.sequence, sequence);
}

/** Numbers for requests under way: a slot that is used again has another number. */
export class RequestNumbers<T> {
  readonly #entries: (T | undefined)[] = [];
  readonly #uses: number[] = [];
  readonly #free: number[] = [];
  count = 0;

  take(entry: T): number {
    const slot = this.#free.pop() ?? this.#entries.length;
    this.#entries[slot] = entry;
    this.#uses[slot] = ((this.#uses[slot] ?? 0) + 1) & 0xffff;
    this.count++;
    return this.#uses[slot] * 0x1_0000 + slot;
  }

  get isFull(): boolean {
    return this.#free.length === 0 && this.#entries.length === 0x1_0000;
  }

  /** The entry of a request that is still under way. */
  get(number: number): T | undefined {
    const slot = number & 0xffff;
    return this.#uses[slot] === number >>> 16 ? this.#entries[slot] : undefined;
  }

  give(number: number): T {
    const slot = number & 0xffff;
    const entry = assertDefined(this.#entries[slot], "a request ends once");
    this.#entries[slot] = undefined;
    this.#free.push(slot);
    this.count--;
    return entry;
  }

  /** Numbers of all requests for which `wanted` holds. */
  numbers(wanted: (entry: T) => boolean): number[] {
    const found: number[] = [];
    for (const [slot, entry] of this.#entries.entries())
      if (entry !== undefined && wanted(entry)) found.push(this.#uses[slot]! * 0x1_0000 + slot);
    return found;
  }
}
