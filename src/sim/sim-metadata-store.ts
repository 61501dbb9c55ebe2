/**
 * A metadata store in memory.
 *
 * Fault model: at a power cut a batch that was not durable is lost whole or kept whole, and never
 * kept without all batches before it. On demand: a value with a bit turned over (`medium.corrupt`),
 * no space, and a commit that fails once others build on it. Batches that are committed while an
 * earlier one is being made durable share the next wait, as in a real store.
 *
 * Misuse is found where it happens: a value or key that is used after its time reads as 0xE7,
 * writing from within a visit and use after `close` assert.
 */
import { assert, CodedError, type Prng } from "../base/index.ts";
import {
  METADATA_KEY_BYTES_MAX,
  METADATA_VALUE_BYTES_MAX,
  type MetadataBatch,
  type MetadataStore,
} from "../ports/index.ts";
import { applyBatch, type MetadataMedium } from "./metadata-medium.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { Latency } from "./simulation.ts";
import type { SortedEntries } from "./sorted-entries.ts";

const POISON = 0xe7;

export interface SimMetadataStoreOptions {
  readonly commitLatency?: Latency;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: CodedError) => void;
}

export class SimMetadataStore implements MetadataStore {
  readonly medium: MetadataMedium;
  /** May be changed while the store runs. */
  commitLatency: Latency;
  readonly #machine: SimMachine;
  readonly #prng: Prng;
  #entries: SortedEntries;
  /** One per batch that is not durable, in order. */
  readonly #waiting: Waiter[] = [];
  #lent: Uint8Array | undefined;
  #visits = 0;
  #isSyncing = false;
  #isClosed = false;
  #whenQuiet: (() => void) | undefined;
  #refusals = 0;
  #refusal: "no-space" | "metadata-failed" = "no-space";

  /** Fails with code `device-in-use` if a store has the medium open already. */
  constructor(machine: SimMachine, medium: MetadataMedium, options: SimMetadataStoreOptions = {}) {
    if (medium.isOpen) {
      throw new CodedError({
        code: "device-in-use",
        message: "the metadata is in use by another store",
      });
    }
    this.#machine = machine;
    this.#prng = machine.simulation.prng.fork();
    this.medium = medium;
    this.commitLatency = options.commitLatency ?? { minMs: 0.3, maxMs: 2 };
    machine.attach(medium);
    medium.isOpen = true;
    this.#entries = medium.visible;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#take();
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#lent = entry.value.slice();
    return this.#lent;
  }

  scan(
    from: Uint8Array,
    to: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void {
    this.#take();
    this.#visits++;
    try {
      this.#entries.scan(from, to, (entry) => {
        const key = entry.key.slice();
        const value = entry.value.slice();
        const goesOn = visit(key, value);
        key.fill(POISON);
        value.fill(POISON);
        return goesOn;
      });
    } finally {
      this.#visits--;
    }
  }

  /** Fails with code `no-space`; nothing of the batch is applied then. */
  async commit(batch: MetadataBatch): Promise<void> {
    this.#take();
    assert(this.#visits === 0, "a visitor must not write to the store");
    const grown = checkedBytes(batch);
    if (!this.#machine.isOn) return await this.#commitInVain(batch);
    if (this.medium.usedBytes + grown > this.medium.capacityBytes) throw fullError();
    const operation = this.#machine.nextOperation;
    this.medium.apply({ operation, operations: copyOf(batch.operations) });
    const durable = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
    this.#machine.operationRequested("commit", 0, grown);
    this.#sync();
    await durable;
  }

  usedBytes(): number {
    return this.medium.usedBytes;
  }

  async close(): Promise<void> {
    this.#take();
    this.#isClosed = true;
    if (this.#waiting.length > 0) await new Promise<void>((done) => (this.#whenQuiet = done));
    if (this.#machine.isOn) this.medium.isOpen = false;
  }

  /**
   * Fault: so many of the next commits fail, after their time. What they had made visible is taken
   * back then, and so are the batches that were called for meanwhile: those fail with them, as in a
   * real store.
   */
  refuseNextCommits(count: number, fault: "no-space" | "metadata-failed" = "no-space"): void {
    this.#refusals = count;
    this.#refusal = fault;
  }

  /** Checks that the store may be used and takes back the value that was lent. */
  #take(): void {
    assert(!this.#isClosed, "the metadata store is closed");
    this.#lent?.fill(POISON);
    this.#lent = undefined;
  }

  /** The dead machine's own code still sees its batch; nobody else ever will. */
  #commitInVain(batch: MetadataBatch): Promise<void> {
    applyBatch(this.#entries, copyOf(batch.operations));
    return new Promise<void>(() => {});
  }

  #sync(): void {
    if (this.#isSyncing || this.#waiting.length === 0) return;
    this.#isSyncing = true;
    // Batches of the rest of this turn join, as they do while a real store wakes its writer.
    this.#machine.schedule(0, () => {
      const count = this.#waiting.length;
      const { simulation } = this.#machine;
      const delayMs = simulation.drawLatencyMs("commit", this.commitLatency, this.#prng);
      this.#machine.schedule(delayMs, () => this.#synced(count));
    });
  }

  #synced(count: number): void {
    this.#isSyncing = false;
    if (this.#refusals > 0) {
      this.#refusals--;
      this.medium.takeBack();
      this.#entries = this.medium.visible;
      const error = this.#refusal === "no-space" ? fullError() : failedError();
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    } else {
      this.medium.flush(count);
      for (const { resolve } of this.#waiting.splice(0, count)) resolve();
    }
    this.#sync();
    if (this.#waiting.length === 0) this.#whenQuiet?.();
  }
}

/** The batch's own memory is used again once it is durable. */
function copyOf(operations: MetadataBatch["operations"]): MetadataBatch["operations"] {
  return operations.map(({ key, value }) => ({ key: key.slice(), value: value?.slice() }));
}

/** Bytes of what is put, all limits checked. */
function checkedBytes(batch: MetadataBatch): number {
  let bytes = 0;
  for (const { key, value } of batch.operations) {
    assert(key.length > 0 && key.length <= METADATA_KEY_BYTES_MAX, "a key of 0 or too many bytes");
    if (value === undefined) continue;
    assert(value.length <= METADATA_VALUE_BYTES_MAX, "a value of too many bytes");
    bytes += key.length + value.length;
  }
  return bytes;
}

function fullError(): CodedError {
  return new CodedError({
    code: "no-space",
    message: "the metadata store is full",
    hint: "delete data or give the device more space",
  });
}

function failedError(): CodedError {
  return new CodedError({
    code: "metadata-failed",
    message: "metadata cannot be written",
    hint: "check the disk that holds it",
  });
}
