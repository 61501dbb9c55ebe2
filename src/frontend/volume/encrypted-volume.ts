/**
 * A volume whose blocks are encrypted before they reach what carries it, and decrypted after:
 * owner, links, journals, devices, caches, snapshots and copies know the encrypted blocks alone.
 *
 * A block is encrypted as a whole, so a request for a part of one reads, changes and writes all of
 * it. Requests that touch the same block are carried out one after the other, in the order of the
 * calls (`OrderedRequests`): none loses what another wrote.
 *
 * A block of zeroes stays one, so that holes stay holes: which blocks are zero can be seen without
 * the key. No other block can be found that encrypts to zeroes.
 *
 * What is read is decrypted out of memory of ours: into a machine's memory go bytes that the
 * machine may have, and never others first.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES, isZero } from "../../base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../object/index.ts";
import type { BlockCipher, DiskMemory } from "../../ports/index.ts";
import { checkRange, OrderedRequests, VolumeRequest } from "./ordered-requests.ts";
import type { RequestKind, RequestOwner } from "./ordered-requests.ts";
import { HEADROOM_BYTES } from "./payload-buffers.ts";
import type { ScratchMemory } from "./scratch-memory.ts";

const BLOCK = BLOCK_SIZE_BYTES;
/** Longer reads are carried out piece by piece. */
const SCRATCH_BYTES_MAX = 256 << 10;
const TAIL_AT = BLOCK;
const EDGES_BYTES = 2 * BLOCK;

/** Its range, as `OrderedRequests` knows it, is that of whole blocks. */
class CipherRequest extends VolumeRequest {
  /** What was asked for lies so far within those blocks. */
  headBytes = 0;
  dataBytes = 0;
  /** Of a read: the bytes of whole blocks that are done. */
  doneBytes = 0;
  isReadingEdges = false;
  pendingCount = 0;
  scratch: DiskMemory | undefined = undefined;
  fault: IoFault | undefined = undefined;

  get endBytes(): number {
    return this.headBytes + this.dataBytes;
  }

  get isAligned(): boolean {
    return this.headBytes === 0 && this.dataBytes === this.lengthBytes;
  }

  /** A request within one block has a head only. */
  get hasHead(): boolean {
    return this.headBytes > 0 || (this.lengthBytes === BLOCK && !this.isAligned);
  }

  get hasTail(): boolean {
    return this.lengthBytes > BLOCK && this.endBytes < this.lengthBytes;
  }
}

export class EncryptedVolume implements VolumeIo, RequestOwner<CipherRequest> {
  readonly #volume: VolumeIo;
  readonly #cipher: BlockCipher;
  readonly #requests = new OrderedRequests<CipherRequest>(this);
  readonly #memory: ScratchMemory;
  readonly #block = new Uint8Array(BLOCK);
  #isSubmitWanted = false;
  #isRoomAsked = false;

  /** `memory` is such that the volume can read into it. */
  constructor(volume: VolumeIo, cipher: BlockCipher, memory: ScratchMemory) {
    this.#volume = volume;
    this.#cipher = cipher;
    this.#memory = memory;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    const { sizeBytes } = this.#volume;
    assert(sizeBytes % BLOCK === 0, "an encrypted volume is a whole number of blocks");
    return sizeBytes;
  }

  get readOnly(): boolean {
    return this.#volume.readOnly;
  }

  allocate(lengthBytes: number): DiskMemory {
    return this.#volume.allocate(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    assert(targetAt + lengthBytes <= target.bytes.length, "the target is too short");
    const request = this.#accept("read", offset, lengthBytes, done, token);
    if (request === undefined) return;
    request.target = target;
    request.targetAt = targetAt;
    this.#requests.enter(request);
  }

  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    checkRange(offset, lengthBytes, this.sizeBytes);
    if ((offset | lengthBytes) % BLOCK !== 0 || lengthBytes > SCRATCH_BYTES_MAX) return false;
    if (this.#requests.isChanging(offset, offset + lengthBytes)) return false;
    const scratch = this.#memory.take(lengthBytes);
    const isRead = this.#volume.readNow(scratch, 0, lengthBytes, offset);
    if (isRead)
      for (let at = 0; at < lengthBytes; at += BLOCK)
        this.#decrypt(scratch.bytes, at, target.bytes, targetAt + at);
    this.#memory.give(scratch);
    return isRead;
  }

  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    assert(sourceAt + lengthBytes <= source.length, "the source is too short");
    const request = this.#accept("write", offset, lengthBytes, done, token);
    if (request === undefined) return;
    const { bytes } = this.#requests.takePayload(request);
    const { headBytes, endBytes } = request;
    for (let at = 0; at < request.lengthBytes; at += BLOCK) {
      const from = Math.max(at, headBytes);
      const end = Math.min(at + BLOCK, endBytes);
      const partAt = sourceAt + from - headBytes;
      // What is written in part waits for the rest of its block as it is.
      if (end - from === BLOCK) this.#encrypt(source, partAt, bytes, HEADROOM_BYTES + at);
      else bytes.set(source.subarray(partAt, partAt + end - from), HEADROOM_BYTES + from);
    }
    this.#requests.enter(request);
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#zero("discard", offset, lengthBytes, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#zero(keepAllocated ? "zero" : "discard", offset, lengthBytes, done, token);
  }

  flush(done: IoDone, token: number): void {
    this.#requests.flush(done, token);
  }

  extents(offset: number, lengthBytes: number, extentsMax: number): Promise<readonly Extent[]> {
    return this.#volume.extents(offset, lengthBytes, extentsMax);
  }

  hasRoom(): boolean {
    return this.#requests.hasRoom();
  }

  onRoom(callback: () => void): void {
    this.#requests.onRoom(callback);
  }

  submit(): void {
    this.#isSubmitWanted = false;
    this.#volume.submit();
  }

  // For `OrderedRequests`.

  makeRequest(slot: number): CipherRequest {
    return new CipherRequest(slot);
  }

  start(request: CipherRequest): void {
    if (request.kind === "read") this.#readPiece(request);
    else if (request.hasHead || request.hasTail) this.#readEdges(request);
    else this.#change(request);
    this.#wantSubmit();
  }

  /** What was answered is durable. */
  flushFault(): undefined {
    return undefined;
  }

  mayTakeMore(): boolean {
    return this.#volume.hasRoom();
  }

  turnEnded(): void {
    if (this.#isSubmitWanted) this.submit();
    if (!this.#requests.isRoomWanted || this.#isRoomAsked || this.#volume.hasRoom()) return;
    this.#isRoomAsked = true;
    this.#volume.onRoom(() => {
      this.#isRoomAsked = false;
      this.#requests.scheduleTurnEnd();
    });
  }

  #accept(
    kind: RequestKind,
    offset: number,
    lengthBytes: number,
    done: IoDone,
    token: number,
  ): CipherRequest | undefined {
    checkRange(offset, lengthBytes, this.sizeBytes);
    if (lengthBytes === 0) {
      this.#requests.answerLater(done, token, undefined);
      return undefined;
    }
    const headBytes = offset % BLOCK;
    const first = offset - headBytes;
    const coveredBytes = Math.ceil((headBytes + lengthBytes) / BLOCK) * BLOCK;
    const request = this.#requests.take(kind, first, coveredBytes, done, token);
    request.headBytes = headBytes;
    request.dataBytes = lengthBytes;
    request.doneBytes = 0;
    request.isReadingEdges = false;
    request.fault = undefined;
    return request;
  }

  #zero(
    kind: "zero" | "discard",
    offset: number,
    lengthBytes: number,
    done: IoDone,
    token: number,
  ): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    const request = this.#accept(kind, offset, lengthBytes, done, token);
    if (request !== undefined) this.#requests.enter(request);
  }

  /** Work was given to the volume; in a caller's turn the caller submits it. */
  #wantSubmit(): void {
    if (this.#requests.isInCall) return;
    this.#isSubmitWanted = true;
    this.#requests.scheduleTurnEnd();
  }

  readonly #answered = (slot: number, fault: IoFault | undefined): void => {
    const request = this.#requests.get(slot);
    request.fault ??= fault;
    if (--request.pendingCount > 0) return;
    if (request.fault !== undefined) this.#finish(request);
    else if (request.kind === "read") this.#pieceRead(request);
    else if (request.isReadingEdges) this.#edgesRead(request);
    else this.#finish(request);
  };

  #readPiece(request: CipherRequest): void {
    const pieceBytes = Math.min(request.lengthBytes - request.doneBytes, SCRATCH_BYTES_MAX);
    request.scratch ??= this.#memory.take(pieceBytes);
    request.pendingCount = 1;
    const offset = request.offset + request.doneBytes;
    this.#volume.read(request.scratch, 0, pieceBytes, offset, this.#answered, request.slot);
  }

  #pieceRead(request: CipherRequest): void {
    const { target, targetAt, scratch, doneBytes, headBytes, endBytes } = request;
    assert(target !== undefined && scratch !== undefined, "a read has memory");
    const pieceBytes = Math.min(request.lengthBytes - doneBytes, SCRATCH_BYTES_MAX);
    for (let at = 0; at < pieceBytes; at += BLOCK) {
      const from = Math.max(doneBytes + at, headBytes);
      const end = Math.min(doneBytes + at + BLOCK, endBytes);
      const to = targetAt + from - headBytes;
      if (end - from === BLOCK) this.#decrypt(scratch.bytes, at, target.bytes, to);
      else {
        this.#decrypt(scratch.bytes, at, this.#block, 0);
        const start = from - doneBytes - at;
        target.bytes.set(this.#block.subarray(start, start + end - from), to);
      }
    }
    request.doneBytes += pieceBytes;
    if (request.doneBytes === request.lengthBytes) this.#finish(request);
    else {
      this.#readPiece(request);
      this.#wantSubmit();
    }
  }

  #readEdges(request: CipherRequest): void {
    const { offset, lengthBytes, slot } = request;
    const scratch = this.#memory.take(EDGES_BYTES);
    request.scratch = scratch;
    request.isReadingEdges = true;
    request.pendingCount = (request.hasHead ? 1 : 0) + (request.hasTail ? 1 : 0);
    if (request.hasHead) this.#volume.read(scratch, 0, BLOCK, offset, this.#answered, slot);
    if (!request.hasTail) return;
    const tail = offset + lengthBytes - BLOCK;
    this.#volume.read(scratch, TAIL_AT, BLOCK, tail, this.#answered, slot);
  }

  #edgesRead(request: CipherRequest): void {
    request.isReadingEdges = false;
    if (request.hasHead) this.#mergeEdge(request, 0, 0);
    if (request.hasTail) this.#mergeEdge(request, TAIL_AT, request.lengthBytes - BLOCK);
    this.#change(request);
    this.#wantSubmit();
  }

  /** Puts what the request changes of a block into the block: in the payload, or in place. */
  #mergeEdge(request: CipherRequest, scratchAt: number, at: number): void {
    const { scratch, payload, headBytes, endBytes } = request;
    assert(scratch !== undefined, "edges have memory");
    const block = this.#block;
    this.#decrypt(scratch.bytes, scratchAt, block, 0);
    const from = Math.max(at, headBytes);
    const end = Math.min(at + BLOCK, endBytes);
    if (payload === undefined) {
      block.fill(0, from - at, end - at);
      this.#encrypt(block, 0, scratch.bytes, scratchAt);
    } else {
      const { bytes } = payload;
      block.set(bytes.subarray(HEADROOM_BYTES + from, HEADROOM_BYTES + end), from - at);
      this.#encrypt(block, 0, bytes, HEADROOM_BYTES + at);
    }
  }

  /** Everything that is to be written is there, encrypted. */
  #change(request: CipherRequest): void {
    const { kind, payload, offset, lengthBytes, slot } = request;
    if (kind !== "write") {
      this.#changeToZero(request);
      return;
    }
    request.pendingCount = 1;
    const { bytes } = assertDefined(payload, "a write has a payload");
    this.#volume.write(bytes, HEADROOM_BYTES, lengthBytes, offset, this.#answered, slot);
    this.#requests.dropPayload(request);
  }

  #changeToZero(request: CipherRequest): void {
    const { kind, scratch, offset, lengthBytes, slot, hasHead, hasTail } = request;
    const bodyAt = offset + (hasHead ? BLOCK : 0);
    const tailAt = offset + lengthBytes - BLOCK;
    const bodyBytes = (hasTail ? tailAt : offset + lengthBytes) - bodyAt;
    request.pendingCount = (hasHead ? 1 : 0) + (hasTail ? 1 : 0) + (bodyBytes > 0 ? 1 : 0);
    const volume = this.#volume;
    if (hasHead) volume.write(scratch!.bytes, 0, BLOCK, offset, this.#answered, slot);
    if (hasTail) volume.write(scratch!.bytes, TAIL_AT, BLOCK, tailAt, this.#answered, slot);
    if (bodyBytes === 0) return;
    if (kind === "zero") volume.writeZeroes(bodyAt, bodyBytes, true, this.#answered, slot);
    else volume.discard(bodyAt, bodyBytes, this.#answered, slot);
  }

  #finish(request: CipherRequest): void {
    const { scratch, fault } = request;
    request.scratch = undefined;
    if (scratch !== undefined) this.#memory.give(scratch);
    this.#requests.finish(request, fault);
    this.#requests.release(request);
  }

  #encrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void {
    if (isZero(source, sourceAt, sourceAt + BLOCK)) target.fill(0, targetAt, targetAt + BLOCK);
    else this.#cipher.encrypt(source, sourceAt, target, targetAt);
  }

  #decrypt(source: Uint8Array, sourceAt: number, target: Uint8Array, targetAt: number): void {
    if (isZero(source, sourceAt, sourceAt + BLOCK)) target.fill(0, targetAt, targetAt + BLOCK);
    else this.#cipher.decrypt(source, sourceAt, target, targetAt);
  }
}
