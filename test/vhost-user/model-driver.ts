/**
 * The driver's side of a split virtqueue, in the guest memory of a test: lays the rings out, makes
 * chains available, collects what was used. Written from the specification alone.
 */
import assert from "node:assert/strict";

export interface GuestBuffer {
  /** Guest address. */
  readonly address: number;
  readonly lengthBytes: number;
  readonly deviceWrites: boolean;
}

export interface UsedChain {
  readonly head: number;
  readonly lengthBytes: number;
}

export interface DriverPlace {
  /** The bytes of guest memory, and the guest address of the first of them. */
  readonly bytes: Uint8Array;
  readonly guestAddress: number;
  /** Where the rings go, an offset in `bytes`, aligned to a page. */
  readonly ringsAt: number;
  readonly entryCount: number;
  readonly eventIndex: boolean;
}

const NEXT = 1;
const WRITES = 2;
const INDIRECT = 4;

export class ModelDriver {
  readonly entryCount: number;
  readonly descriptorsAt: number;
  readonly availableAt: number;
  readonly usedAt: number;
  readonly #view: DataView;
  readonly #guestAddress: number;
  readonly #eventIndex: boolean;
  readonly #free: number[] = [];
  /** Descriptors of each chain that is with the device. */
  readonly #chains = new Map<number, number[]>();
  available = 0;
  /** The rings are scribbled over: what is not understood is passed over. */
  isLenient = false;
  #seen = 0;
  #toldKick = 0;

  constructor(place: DriverPlace) {
    const { bytes, ringsAt, entryCount } = place;
    this.entryCount = entryCount;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#guestAddress = place.guestAddress;
    this.#eventIndex = place.eventIndex;
    this.descriptorsAt = ringsAt;
    this.availableAt = ringsAt + 16 * entryCount;
    this.usedAt = Math.ceil((this.availableAt + 6 + 2 * entryCount) / 4096) * 4096;
    for (let i = entryCount - 1; i >= 0; i--) this.#free.push(i);
  }

  get endAt(): number {
    return this.usedAt + 6 + 8 * this.entryCount;
  }

  get freeCount(): number {
    return this.#free.length;
  }

  /** Puts a chain into the descriptor table without making it available. */
  describe(buffers: readonly GuestBuffer[]): number {
    assert(buffers.length > 0 && buffers.length <= this.#free.length, "descriptors are free");
    const indexes = buffers.map(() => this.#free.pop()!);
    for (const [i, { address, lengthBytes, deviceWrites }] of buffers.entries()) {
      const isLast = i === buffers.length - 1;
      const flags = (isLast ? 0 : NEXT) | (deviceWrites ? WRITES : 0);
      this.descriptor(indexes[i]!, address, lengthBytes, flags, isLast ? 0 : indexes[i + 1]!);
    }
    this.#chains.set(indexes[0]!, indexes);
    return indexes[0]!;
  }

  /** As `describe`, with the buffers in a table at an offset of guest memory. */
  describeIndirect(buffers: readonly GuestBuffer[], tableAt: number): number {
    for (const [i, { address, lengthBytes, deviceWrites }] of buffers.entries()) {
      const isLast = i === buffers.length - 1;
      const flags = (isLast ? 0 : NEXT) | (deviceWrites ? WRITES : 0);
      this.descriptorAt(tableAt + 16 * i, address, lengthBytes, flags, isLast ? 0 : i + 1);
    }
    const head = this.#free.pop();
    assert(head !== undefined, "a descriptor is free");
    this.descriptor(head, this.#guestAddress + tableAt, 16 * buffers.length, INDIRECT, 0);
    this.#chains.set(head, [head]);
    return head;
  }

  descriptor(
    index: number,
    address: number,
    lengthBytes: number,
    flags: number,
    next: number,
  ): void {
    this.descriptorAt(this.descriptorsAt + 16 * index, address, lengthBytes, flags, next);
  }

  descriptorAt(
    at: number,
    address: number,
    lengthBytes: number,
    flags: number,
    next: number,
  ): void {
    this.#view.setBigUint64(at, BigInt(address), true);
    this.#view.setUint32(at + 8, lengthBytes, true);
    this.#view.setUint16(at + 12, flags, true);
    this.#view.setUint16(at + 14, next, true);
  }

  /** Makes chains available; whether the device wants a kick for them. */
  offer(...heads: readonly number[]): boolean {
    for (const head of heads) {
      const slot = this.available % this.entryCount;
      this.#view.setUint16(this.availableAt + 4 + 2 * slot, head, true);
      this.available = (this.available + 1) & 0xffff;
    }
    this.#view.setUint16(this.availableAt + 2, this.available, true);
    return this.wantsKick();
  }

  /** Whether the device wants to be told of what was made available since the last question. */
  wantsKick(): boolean {
    const before = this.#toldKick;
    this.#toldKick = this.available;
    if (!this.#eventIndex) return (this.#view.getUint16(this.usedAt, true) & 1) === 0;
    const event = this.#view.getUint16(this.usedAt + 4 + 8 * this.entryCount, true);
    return ((this.available - event - 1) & 0xffff) < ((this.available - before) & 0xffff);
  }

  /** The driver wants to be notified after the next used chain, or after so many. */
  wantNotification(after = 0): void {
    const event = (this.#seen + after) & 0xffff;
    if (this.#eventIndex) {
      this.#view.setUint16(this.availableAt + 4 + 2 * this.entryCount, event, true);
    } else this.#view.setUint16(this.availableAt, 0, true);
  }

  refuseNotifications(): void {
    assert(!this.#eventIndex, "with event indexes there is no such flag");
    this.#view.setUint16(this.availableAt, 1, true);
  }

  /** What was used since the last call; its descriptors are free again. */
  collect(): UsedChain[] {
    const used: UsedChain[] = [];
    const end = this.#view.getUint16(this.usedAt + 2, true);
    while (this.#seen !== end) {
      const at = this.usedAt + 4 + 8 * (this.#seen % this.entryCount);
      const head = this.#view.getUint32(at, true);
      const indexes = this.#chains.get(head);
      const isKnown = indexes !== undefined || this.isLenient;
      assert(isKnown, `chain ${head} is used, which the device does not have`);
      this.#chains.delete(head);
      this.#free.push(...(indexes ?? []).toReversed());
      used.push({ head, lengthBytes: this.#view.getUint32(at + 4, true) });
      this.#seen = (this.#seen + 1) & 0xffff;
    }
    return used;
  }
}
