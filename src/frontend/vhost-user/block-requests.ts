/**
 * Requests of one virtqueue of a disk, on their way to the volume and back. A request's data is cut
 * into pieces of at most a megabyte, so that a guest that asks for gigabytes at once holds as
 * little memory as any other; while there is no memory or room for the next piece, no new request
 * is taken.
 *
 * Data that is read goes straight into the guest's memory where its buffers are made of pages, as
 * they mostly are. Everything else goes through memory of ours: what the volume writes to several
 * places must not be changed by a guest meanwhile.
 */
import {
  assert,
  assertDefined,
  BLOCK_SIZE_BYTES,
  getU32,
  SECTOR_SIZE_BYTES,
} from "../../base/index.ts";
import {
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_UNMAP,
  VirtioBlkRangeLayout,
  VirtioBlkRequestLayout,
  VirtioBlkStatus,
  VirtioBlkType,
} from "../../format/index.ts";
import type { IoDone, IoFault } from "../../object/index.ts";
import type { DiskMemory } from "../../ports/index.ts";
import { READ_PIECE_BYTES_MAX } from "../nbd/read-memory.ts";
import type { ReadMemory } from "../nbd/read-memory.ts";
import type { Section } from "../shared-memory/section-cache.ts";
import { ZERO_SECTORS_MAX } from "./block-device.ts";
import type { BlockDevice } from "./block-device.ts";
import { Chain } from "./chain.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { demand, wireU64 } from "./violation.ts";

const HEADER_BYTES = VirtioBlkRequestLayout.sizeBytes;
const RANGE_BYTES = VirtioBlkRangeLayout.sizeBytes;
/** Old drivers may set it; it asks for nothing. */
const BARRIER = 0x80000000;
const { ok, ioError, unsupported } = VirtioBlkStatus;
const NONE = -1;

/** Where a request's data goes: "direct" is a read into the guest's memory. */
type Way = "read" | "direct" | "write" | "none";

class BlockRequest {
  readonly chain: Chain = new Chain();
  way: Way = "none";
  /** Of the volume. */
  offset = 0;
  dataBytes = 0;
  /** Data that was given to the volume. */
  startedBytes = 0;
  /** Of a direct read: the buffer that the next piece goes to, and how far it is filled. */
  segment = 0;
  segmentBytes = 0;
  pendingCount = 0;
  status: number = ok;
}

export interface RequestOwner {
  /** The chain's status is written: it may be given back to the guest. */
  finished(chain: Chain, writtenBytes: number): void;
  /** The volume does not serve any more; the request is not answered. */
  volumeGone(fault: IoFault): void;
  /** There is memory or room again, after `isStalled`. */
  proceed(): void;
  /** What was thrown outside of `start`, for which the connection ends. Throws nothing. */
  failed(error: unknown): void;
  /** After `abandon`: the volume has answered everything. */
  drained(): void;
}

export class BlockRequests {
  readonly #device: BlockDevice;
  readonly #guest: GuestMemory;
  readonly #memory: ReadMemory;
  readonly #owner: RequestOwner;
  /** For data on its way from the guest into the volume, which copies it before it returns. */
  readonly #staging: Uint8Array;
  readonly #head = new Uint8Array(Math.max(HEADER_BYTES, RANGE_BYTES));
  readonly #statusByte = new Uint8Array(1);
  readonly #free: BlockRequest[] = [];
  /** Per piece. */
  readonly #requests: (BlockRequest | undefined)[] = [];
  readonly #pages: number[] = [];
  readonly #dataAts: number[] = [];
  readonly #lengths: number[] = [];
  readonly #sections: (Section | undefined)[] = [];
  readonly #addresses: number[] = [];
  readonly #freePieces: number[] = [];
  /** The request whose next piece finds no memory or room. */
  #stalled: BlockRequest | undefined;
  #isRoomAwaited = false;
  #activeCount = 0;
  /** Pieces in the volume's hands. */
  #pieceCount = 0;
  #isAbandoned = false;

  constructor(
    device: BlockDevice,
    guest: GuestMemory,
    memory: ReadMemory,
    staging: Uint8Array,
    owner: RequestOwner,
  ) {
    assert(staging.length >= READ_PIECE_BYTES_MAX, "the staging memory holds a piece");
    this.#device = device;
    this.#guest = guest;
    this.#memory = memory;
    this.#staging = staging;
    this.#owner = owner;
  }

  /** Requests that were taken and are not finished. */
  get activeCount(): number {
    return this.#activeCount;
  }

  /** No new request may be started until `proceed`. */
  get isStalled(): boolean {
    return this.#stalled !== undefined;
  }

  /**
   * Nothing touches the guest's memory any more and nothing is finished. `drained` comes when the
   * volume has answered what it has.
   */
  abandon(): void {
    this.#isAbandoned = true;
    this.#stalled = undefined;
  }

  get isDrained(): boolean {
    return this.#pieceCount === 0;
  }

  /** A chain to take the next request with; goes on with `start`, or back with `giveBack`. */
  takeChain(): Chain {
    const request = this.#free.at(-1) ?? new BlockRequest();
    if (this.#free.length === 0) this.#free.push(request);
    return request.chain;
  }

  /** Starts the request in the chain that `takeChain` gave. */
  start(): void {
    const request = assertDefined(this.#free.pop(), "a request was taken");
    const { chain } = request;
    demand(chain.readableBytes >= HEADER_BYTES, "a request is shorter than its head");
    demand(chain.writableBytes >= 1, "a request has no room for its status");
    this.#readHead(chain, 0, HEADER_BYTES);
    const type = (getU32(this.#head, VirtioBlkRequestLayout.at.type) & ~BARRIER) >>> 0;
    const sector = wireU64(this.#head, VirtioBlkRequestLayout.at.sector);
    this.#activeCount++;
    request.way = "none";
    request.status = ok;
    request.startedBytes = 0;
    request.dataBytes = 0;
    request.offset = sector * SECTOR_SIZE_BYTES;
    // Held by this call, so that answers of pieces do not finish the request before it is started.
    request.pendingCount = 1;
    if (type === VirtioBlkType.read) this.#startTransfer(request, "read");
    else if (type === VirtioBlkType.write) this.#startTransfer(request, "write");
    else this.#startOther(request, type);
    if (request !== this.#stalled) this.#release(request);
  }

  #startTransfer(request: BlockRequest, way: "read" | "write"): void {
    const { chain } = request;
    const isWrite = way === "write";
    const dataBytes = isWrite ? chain.readableBytes - HEADER_BYTES : chain.writableBytes - 1;
    const isRefused = (isWrite && this.#device.volume.readOnly) || !this.#lies(request, dataBytes);
    if (isRefused) {
      request.status = ioError;
      return;
    }
    request.way = way;
    request.dataBytes = dataBytes;
    if (way === "read" && this.#isMadeOfPages(chain, dataBytes)) {
      request.way = "direct";
      request.segment = chain.readableCount;
      request.segmentBytes = 0;
    }
    this.#advance(request);
  }

  /** Whether every buffer of a read begins at a page, and at a page of the data. */
  #isMadeOfPages(chain: Chain, dataBytes: number): boolean {
    let checkedBytes = 0;
    for (let i = chain.readableCount; checkedBytes < dataBytes; i++) {
      const lengthBytes = Math.min(chain.lengthAt(i), dataBytes - checkedBytes);
      const isThere = this.#guest.locate(chain.addressAt(i), lengthBytes);
      demand(isThere, "a buffer went away while its request was under way");
      if ((this.#guest.foundAt | checkedBytes) % BLOCK_SIZE_BYTES !== 0) return false;
      checkedBytes += lengthBytes;
    }
    return true;
  }

  /** Whether so many bytes from the request's offset on are sectors of the volume. */
  #lies(request: BlockRequest, lengthBytes: number): boolean {
    if (lengthBytes % SECTOR_SIZE_BYTES !== 0) return false;
    return request.offset + lengthBytes <= this.#device.volume.sizeBytes;
  }

  /** Gives the volume the next pieces, as far as there are memory and room. */
  #advance(request: BlockRequest): void {
    while (request.startedBytes < request.dataBytes && request.status === ok) {
      const leftBytes = request.dataBytes - request.startedBytes;
      const pieceBytes = Math.min(leftBytes, READ_PIECE_BYTES_MAX);
      if (!this.#startPiece(request, pieceBytes)) {
        this.#stalled = request;
        return;
      }
    }
  }

  #startPiece(request: BlockRequest, pieceBytes: number): boolean {
    if (request.way === "write") return this.#writePiece(request, pieceBytes);
    // Too much may be pinned: then this piece goes through memory of ours.
    if (request.way === "direct" && this.#directPiece(request, pieceBytes)) return true;
    return this.#readPiece(request, pieceBytes);
  }

  #directPiece(request: BlockRequest, bytesMax: number): boolean {
    const { chain, segment, segmentBytes } = request;
    const guest = this.#guest;
    const leftBytes = Math.min(chain.lengthAt(segment) - segmentBytes, bytesMax);
    const address = chain.addressAt(segment) + segmentBytes;
    demand(guest.locate(address, leftBytes), "a buffer went away while its request was under way");
    const { foundSection: section, foundAt: at, foundBytes: pieceBytes } = guest;
    const offset = request.offset + request.startedBytes;
    const isDone =
      section !== undefined && this.#device.volume.readNow(section.memory, at, pieceBytes, offset);
    if (isDone) {
      request.startedBytes += pieceBytes;
      nextDirect(request, pieceBytes);
      guest.wroteCached(address, pieceBytes);
      return true;
    }
    if (section === undefined || !guest.pin(section)) {
      request.way = "read";
      return false;
    }
    const piece = this.#takePiece(request, NONE, pieceBytes);
    this.#sections[piece] = section;
    this.#addresses[piece] = address;
    nextDirect(request, pieceBytes);
    this.#read(request, section.memory, at, piece);
    return true;
  }

  #readPiece(request: BlockRequest, pieceBytes: number): boolean {
    const page = this.#memory.take(pieceBytes);
    if (page === NONE) return false;
    const piece = this.#takePiece(request, page, pieceBytes);
    this.#read(request, this.#memory.memory, this.#memory.dataAt(page), piece);
    return true;
  }

  #read(request: BlockRequest, target: DiskMemory, targetAt: number, piece: number): void {
    const lengthBytes = this.#lengths[piece]!;
    const offset = request.offset + this.#dataAts[piece]!;
    try {
      this.#device.volume.read(target, targetAt, lengthBytes, offset, this.#pieceDone, piece);
    } catch (error) {
      this.#lose(piece);
      throw error;
    }
  }

  #writePiece(request: BlockRequest, pieceBytes: number): boolean {
    const { volume } = this.#device;
    if (!volume.hasRoom()) {
      this.#awaitRoom();
      return false;
    }
    const from = HEADER_BYTES + request.startedBytes;
    const isThere = request.chain.readInto(this.#guest, from, this.#staging, 0, pieceBytes);
    demand(isThere, "a buffer went away while its request was under way");
    const piece = this.#takePiece(request, NONE, pieceBytes);
    const offset = request.offset + this.#dataAts[piece]!;
    try {
      volume.write(this.#staging, 0, pieceBytes, offset, this.#pieceDone, piece);
    } catch (error) {
      this.#lose(piece);
      throw error;
    }
    return true;
  }

  #awaitRoom(): void {
    if (this.#isRoomAwaited) return;
    this.#isRoomAwaited = true;
    this.#device.volume.onRoom(() => {
      this.#isRoomAwaited = false;
      this.#resume();
    });
  }

  #startOther(request: BlockRequest, type: number): void {
    if (type === VirtioBlkType.flush) {
      const { volume } = this.#device;
      this.#give(request, (piece) => volume.flush(this.#pieceDone, piece));
    } else if (type === VirtioBlkType.getId) {
      this.#answerId(request);
    } else if (type === VirtioBlkType.discard || type === VirtioBlkType.writeZeroes) {
      this.#startZero(request, type);
    } else {
      request.status = unsupported;
    }
  }

  #answerId({ chain }: BlockRequest): void {
    const lengthBytes = Math.min(chain.writableBytes - 1, VIRTIO_BLK_ID_BYTES);
    this.#toGuest(chain, 0, this.#device.serial, 0, lengthBytes);
  }

  #startZero(request: BlockRequest, type: number): void {
    const { chain } = request;
    const { volume } = this.#device;
    const lengthBytes = chain.readableBytes - HEADER_BYTES;
    // The device offers one range in a request.
    if (lengthBytes > RANGE_BYTES) request.status = unsupported;
    else if (volume.readOnly || lengthBytes < RANGE_BYTES) request.status = ioError;
    if (request.status !== ok) return;
    this.#readHead(chain, HEADER_BYTES, RANGE_BYTES);
    const { at } = VirtioBlkRangeLayout;
    const sectors = getU32(this.#head, at.sectorCount);
    const flags = getU32(this.#head, at.flags);
    const zeroBytes = sectors * SECTOR_SIZE_BYTES;
    request.offset = wireU64(this.#head, at.sector) * SECTOR_SIZE_BYTES;
    const knownFlags = type === VirtioBlkType.writeZeroes ? VIRTIO_BLK_UNMAP : 0;
    if (sectors > ZERO_SECTORS_MAX || !this.#lies(request, zeroBytes)) request.status = ioError;
    else if ((flags & ~knownFlags) !== 0) request.status = unsupported;
    if (request.status !== ok || zeroBytes === 0) return;
    const { offset } = request;
    this.#give(request, (piece) => {
      if (type === VirtioBlkType.discard) volume.discard(offset, zeroBytes, this.#pieceDone, piece);
      else volume.writeZeroes(offset, zeroBytes, flags === 0, this.#pieceDone, piece);
    });
  }

  /** A piece without data. */
  #give(request: BlockRequest, give: (piece: number) => void): void {
    const piece = this.#takePiece(request, NONE, 0);
    try {
      give(piece);
    } catch (error) {
      this.#lose(piece);
      throw error;
    }
  }

  /**
   * The volume has failed to take a piece, which is a fault of ours: an answer is not waited for,
   * but may come. So nobody else gets the memory that data would go to.
   */
  #lose(piece: number): void {
    this.#requests[piece] = undefined;
    this.#pieceCount--;
    if (this.#pages[piece] !== NONE) this.#memory.isLost = true;
  }

  /** Throws nothing: it is the volume that calls. */
  readonly #pieceDone: IoDone = (piece, fault) => {
    const page = this.#pages[piece]!;
    try {
      this.#answered(piece, fault);
    } catch (error) {
      this.#owner.failed(error);
    }
    if (this.#isAbandoned && this.#pieceCount === 0) this.#owner.drained();
    else if (page !== NONE) this.#resume();
  };

  #answered(piece: number, fault: IoFault | undefined): void {
    const request = assertDefined(this.#requests[piece], "a piece is answered once");
    this.#requests[piece] = undefined;
    this.#freePieces.push(piece);
    this.#pieceCount--;
    this.#unpin(piece, fault);
    if (!this.#isAbandoned) this.#pieceAnswered(request, piece, fault);
  }

  #unpin(piece: number, fault: IoFault | undefined): void {
    const section = this.#sections[piece];
    if (section === undefined) return;
    this.#sections[piece] = undefined;
    const writtenBytes = fault === undefined ? this.#lengths[piece]! : 0;
    this.#guest.unpin(section, this.#addresses[piece]!, writtenBytes);
  }

  #pieceAnswered(request: BlockRequest, piece: number, fault: IoFault | undefined): void {
    const page = this.#pages[piece]!;
    if (page !== NONE) {
      const from = this.#memory.dataAt(page);
      const { bytes } = this.#memory.memory;
      if (fault === undefined)
        this.#toGuest(request.chain, this.#dataAts[piece]!, bytes, from, this.#lengths[piece]!);
      this.#memory.release(page);
    }
    if (fault !== undefined) this.#failed(request, fault);
    if (!this.#isAbandoned) this.#release(request);
  }

  #failed(request: BlockRequest, fault: IoFault): void {
    request.status = ioError;
    if (fault === "not-owner" || fault === "shutting-down") this.#owner.volumeGone(fault);
  }

  /** Throws nothing: it is the volume that calls. */
  #resume(): void {
    const request = this.#stalled;
    if (request === undefined) return;
    this.#stalled = undefined;
    try {
      this.#advance(request);
      if (!this.isStalled) this.#release(request);
    } catch (error) {
      this.#owner.failed(error);
    }
    try {
      // Outside of anybody's turn.
      this.#device.volume.submit();
    } catch (error) {
      this.#owner.failed(error);
    }
    if (!this.isStalled && !this.#isAbandoned) this.#owner.proceed();
  }

  #takePiece(request: BlockRequest, page: number, lengthBytes: number): number {
    const piece = this.#freePieces.pop() ?? this.#requests.length;
    this.#requests[piece] = request;
    this.#pages[piece] = page;
    this.#dataAts[piece] = request.startedBytes;
    this.#lengths[piece] = lengthBytes;
    request.startedBytes += lengthBytes;
    request.pendingCount++;
    this.#pieceCount++;
    return piece;
  }

  #release(request: BlockRequest): void {
    if (--request.pendingCount > 0) return;
    const { chain } = request;
    this.#statusByte[0] = request.status;
    this.#toGuest(chain, chain.writableBytes - 1, this.#statusByte, 0, 1);
    this.#activeCount--;
    this.#free.push(request);
    this.#owner.finished(chain, chain.writableBytes);
  }

  #readHead(chain: Chain, from: number, lengthBytes: number): void {
    const isThere = chain.readInto(this.#guest, from, this.#head, 0, lengthBytes);
    demand(isThere, "a buffer went away while its request was under way");
  }

  #toGuest(
    chain: Chain,
    to: number,
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
  ): void {
    const isThere = chain.writeFrom(this.#guest, to, source, sourceAt, lengthBytes);
    demand(isThere, "a buffer went away while its request was under way");
  }
}

/** Of a direct read: so much of its buffers has got its data, or will. */
function nextDirect(request: BlockRequest, pieceBytes: number): void {
  request.segmentBytes += pieceBytes;
  if (request.segmentBytes < request.chain.lengthAt(request.segment)) return;
  request.segment++;
  request.segmentBytes = 0;
}
