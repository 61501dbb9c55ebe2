/**
 * Sources of a volume over bytes that outlive them, as copies of an object outlive its owners. Each
 * carries out and answers its requests one by one, in an order of chance, until it stops: then some
 * that were unanswered are done all the same, some in part, and all are answered with a fault, some
 * of them after the next source has begun.
 */
import assert from "node:assert/strict";
import type { Prng } from "../../src/base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../src/object/index.ts";
import type { DiskMemory } from "../../src/ports/index.ts";
import { fakeMemory } from "./fake-component.ts";

interface Pending {
  readonly kind: "read" | "write" | "zero";
  readonly offset: number;
  readonly lengthBytes: number;
  readonly bytes: Uint8Array | undefined;
  readonly target: DiskMemory | undefined;
  readonly targetAt: number;
  readonly done: IoDone;
  readonly token: number;
}

export class StoppingSource implements VolumeIo {
  readonly name = "source";
  readonly readOnly = false;
  readonly content: Uint8Array;
  hasStopped = false;
  requestCount = 0;
  submitCount = 0;
  isFull = false;
  /** Everything is in memory: it can be read at once. */
  isInMemory = false;
  readNowCount = 0;
  /** Answers every request with this. */
  fault: IoFault | undefined = undefined;
  readonly #prng: Prng;
  #pending: Pending[] = [];
  #roomCallbacks: (() => void)[] = [];

  constructor(content: Uint8Array, prng: Prng) {
    this.content = content;
    this.#prng = prng;
  }

  get sizeBytes(): number {
    return this.content.length;
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  allocate(lengthBytes: number): DiskMemory {
    return fakeMemory(lengthBytes);
  }

  // oxlint-disable-next-line max-params -- the contract of VolumeIo
  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    this.#take({
      kind: "read",
      offset,
      lengthBytes,
      bytes: undefined,
      target,
      targetAt,
      done,
      token,
    });
  }

  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    if (!this.isInMemory || this.hasStopped) return false;
    const end = offset + lengthBytes;
    if (this.#pending.some((other) => other.kind !== "read" && overlaps(other, offset, end)))
      return false;
    target.bytes.set(this.content.subarray(offset, end), targetAt);
    this.readNowCount++;
    return true;
  }

  // oxlint-disable-next-line max-params -- the contract of VolumeIo
  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const bytes = source.slice(sourceAt, sourceAt + lengthBytes);
    this.#take({ kind: "write", offset, lengthBytes, bytes, ...NO_TARGET, done, token });
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.writeZeroes(offset, lengthBytes, false, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    _keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#take({ kind: "zero", offset, lengthBytes, bytes: undefined, ...NO_TARGET, done, token });
  }

  flush(): void {
    assert.fail("what is acknowledged is durable: nobody needs to flush a source");
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assert(!this.hasStopped, "a source that is known to have stopped is not asked");
    return [{ kind: "data", offset, lengthBytes }];
  }

  hasRoom(): boolean {
    return !this.isFull;
  }

  onRoom(callback: () => void): void {
    this.#roomCallbacks.push(callback);
  }

  makeRoom(): void {
    this.isFull = false;
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  }

  submit(): void {
    this.submitCount++;
  }

  /** Carries one request out, or gives one answer that a stop left. */
  step(): void {
    const index = this.#prng.below(this.#pending.length);
    const [request] = this.#pending.splice(index, 1);
    assert(request !== undefined, "nothing is pending");
    if (this.hasStopped) {
      // Nobody else may use the target before this answer.
      const { target, targetAt, lengthBytes } = request;
      target?.bytes.fill(0xbb, targetAt, targetAt + lengthBytes);
    } else if (this.fault === undefined) this.#carryOut(request, request.lengthBytes);
    const stopped = this.#prng.chance(0.5) ? "unreachable" : "not-owner";
    request.done(request.token, this.hasStopped ? stopped : this.fault);
  }

  /** From here on nothing changes; the answers come by `step`. */
  stop(): void {
    this.hasStopped = true;
    for (const request of this.#pending) {
      if (request.kind === "read" || this.#prng.chance(0.4)) continue;
      const sectors = request.lengthBytes / 512;
      const whole = this.#prng.chance(0.5);
      this.#carryOut(request, whole ? request.lengthBytes : 512 * this.#prng.below(sectors + 1));
    }
  }

  #take(request: Pending): void {
    const end = request.offset + request.lengthBytes;
    const conflict = this.#pending.some(
      (other) =>
        overlaps(other, request.offset, end) && (other.kind !== "read" || request.kind !== "read"),
    );
    assert(!conflict, "requests under way at a source depend on each other");
    this.requestCount++;
    this.#pending.push(request);
  }

  #carryOut(request: Pending, lengthBytes: number): void {
    const { kind, offset, bytes, target, targetAt } = request;
    if (kind === "read") {
      target?.bytes.set(this.content.subarray(offset, offset + lengthBytes), targetAt);
    } else if (bytes === undefined) this.content.fill(0, offset, offset + lengthBytes);
    else this.content.set(bytes.subarray(0, lengthBytes), offset);
  }
}

function overlaps(request: Pending, offset: number, end: number): boolean {
  return request.offset < end && request.offset + request.lengthBytes > offset;
}

const NO_TARGET = { target: undefined, targetAt: 0 } as const;
