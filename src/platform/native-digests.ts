/**
 * Checksums and fingerprints by native code.
 *
 * CRC32C runs on the calling thread, with the processor's own instruction where there is one.
 * SHA-256 runs on a thread of its own that is started when it is first needed: at 3 us a block it
 * would stand in the way of I/O. Blocks stay where they are, the thread is told their addresses.
 * Memory without an address, and a few blocks only, are done on the calling thread: that is cheaper
 * than asking.
 */
import { BLOCK_SIZE_BYTES, CodedError, assert, errorText } from "../base/index.ts";
import { hastenCrc32c, portableCrc32c } from "../base/index.ts";
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Digests, DiskMemory } from "../ports/index.ts";

/** Blocks that take about as long as a message to another thread and back. */
const INLINE_BLOCKS_MAX = 4;
const WORKER_HEAP_MB = 32;

export interface DigestRequest {
  readonly id: number;
  readonly address: number;
  /** Of the blocks, from `address`. */
  readonly offsets: Float64Array;
}

export interface DigestAnswer {
  readonly id: number;
  readonly digests: Uint8Array<ArrayBuffer>;
}

interface Waiter {
  readonly memory: DiskMemory;
  readonly target: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: CodedError) => void;
}

export class NativeDigests implements Digests {
  /** Which code computes CRC32C, for `status`. */
  readonly checksumKind: "native" | "portable" = nativeCrc32c === undefined ? "portable" : "native";
  readonly #waiters = new Map<number, Waiter>();
  #worker: Worker | undefined;
  #nextId = 0;
  #closed = false;

  crc32c(bytes: Uint8Array, start: number, end: number): number {
    if (nativeCrc32c === undefined) return portableCrc32c(bytes, start, end);
    assert(start >= 0 && start <= end && end <= bytes.length, "a range of the bytes");
    return nativeCrc32c(bytes.subarray(start, end));
  }

  async fingerprint(
    memory: DiskMemory,
    offsets: Float64Array,
    count: number,
    target: Uint8Array,
  ): Promise<void> {
    assert(!this.#closed, "the digests are closed");
    assert(count <= offsets.length, "as many offsets as blocks");
    assert(count * FINGERPRINT_BYTES <= target.length, "the target has room for all fingerprints");
    const last = memory.bytes.length - BLOCK_SIZE_BYTES;
    for (let i = 0; i < count; i++) {
      assert(offsets[i]! >= 0 && offsets[i]! <= last, "a block lies within its memory");
    }
    if (count <= INLINE_BLOCKS_MAX || memory.handle.address === 0) {
      fingerprintHere(memory.bytes, offsets, count, target);
    } else {
      await this.#fingerprintElsewhere(memory, offsets.slice(0, count), target);
    }
  }

  /** Ends the thread. Fingerprints under way fail with code `digests-closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#failAll(fault("digests-closed", "the digests are closed"));
    await this.#worker?.terminate();
  }

  async #fingerprintElsewhere(
    memory: DiskMemory,
    offsets: Float64Array<ArrayBuffer>,
    target: Uint8Array,
  ): Promise<void> {
    const worker = (this.#worker ??= this.#startWorker());
    const id = this.#nextId++;
    const request: DigestRequest = { id, address: memory.handle.address, offsets };
    await new Promise<void>((resolve, reject) => {
      if (this.#waiters.size === 0) worker.ref();
      this.#waiters.set(id, { memory, target, resolve, reject });
      worker.postMessage(request, [offsets.buffer]);
    });
  }

  #startWorker(): Worker {
    const worker = new Worker(new URL("./digest-worker.js", import.meta.url), {
      name: "digests",
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB, maxYoungGenerationSizeMb: 4 },
    });
    worker.unref();
    worker.on("message", (answer: DigestAnswer) => this.#take(worker, answer));
    const lost = (cause: unknown): void => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#failAll(fault("digests-failed", `fingerprinting failed: ${errorText(cause)}`, cause));
    };
    worker.on("error", lost);
    worker.on("messageerror", lost);
    worker.on("exit", (code) => lost(`its thread ended with ${code}`));
    return worker;
  }

  #take(worker: Worker, answer: DigestAnswer): void {
    const waiter = this.#waiters.get(answer.id);
    if (waiter === undefined) return;
    this.#waiters.delete(answer.id);
    if (this.#waiters.size === 0) worker.unref();
    waiter.target.set(answer.digests);
    waiter.resolve();
  }

  #failAll(error: CodedError): void {
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.reject(error);
  }
}

function fault(code: string, message: string, cause?: unknown): CodedError {
  return new CodedError({ code, message, hint: "The work can be tried again" }, { cause });
}

function fingerprintHere(
  bytes: Uint8Array,
  offsets: Float64Array,
  count: number,
  target: Uint8Array,
): void {
  for (let i = 0; i < count; i++) {
    const block = bytes.subarray(offsets[i], offsets[i]! + BLOCK_SIZE_BYTES);
    target.set(createHash("sha256").update(block).digest(), i * FINGERPRINT_BYTES);
  }
}

type Checksum = (bytes: Uint8Array, seed?: number) => number;

/** Undefined where the native module cannot be loaded or does not compute what it should. */
async function loadNativeCrc32c(): Promise<Checksum | undefined> {
  let native: Checksum;
  try {
    native = (await import("@node-rs/crc32")).crc32c;
  } catch {
    // No build for this machine; `checksumKind` tells.
    return undefined;
  }
  const sample = Uint8Array.from({ length: 1000 }, (_, i) => i * i);
  const agrees = [0, 1, 7, 8, 9, 1000].every((length) => {
    const part = sample.subarray(0, length);
    const seed = length * 0x9e3779b1;
    return (
      native(part) === portableCrc32c(part) &&
      native(part, seed >>> 0) === portableCrc32c(part, 0, length, seed >>> 0)
    );
  });
  return agrees ? native : undefined;
}

const nativeCrc32c = await loadNativeCrc32c();
if (nativeCrc32c !== undefined) {
  hastenCrc32c((bytes, start, end, seed) => nativeCrc32c(bytes.subarray(start, end), seed));
}
