/**
 * One ring of a connection: what the front end has said of it, and, while it runs, its queue. A
 * ring runs from the moment that its kick is there until its base is asked for.
 */
import type { RemoteEvent } from "../../ports/index.ts";
import { BlockQueue } from "./block-queue.ts";
import type { QueueWorld } from "./block-queue.ts";
import type { DirtyLog } from "./dirty-log.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { InflightRegion } from "./inflight-region.ts";
import { SplitQueue, usedRingBytes } from "./split-queue.ts";
import type { QueueAddresses } from "./split-queue.ts";
import { demand } from "./violation.ts";

export interface RingOptions {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  readonly inflight?: InflightRegion;
}

export interface RingPlace extends QueueAddresses {
  /** Guest address by which writes to the used ring are logged; undefined: they are not. */
  readonly logAddress: number | undefined;
}

export class VhostRing {
  readonly #index: number;
  readonly #makeWorld: (kick: RemoteEvent) => QueueWorld;
  #size = 0;
  #base = 0;
  #place: RingPlace | undefined;
  #kick: RemoteEvent | undefined;
  #call: RemoteEvent | undefined;
  #error: RemoteEvent | undefined;
  #isEnabled = false;
  #log: DirtyLog | undefined;
  #split: SplitQueue | undefined;
  #queue: BlockQueue | undefined;

  constructor(index: number, makeWorld: (kick: RemoteEvent) => QueueWorld) {
    this.#index = index;
    this.#makeWorld = makeWorld;
  }

  get isRunning(): boolean {
    return this.#queue !== undefined;
  }

  /** Requests are taken: it runs, and its front end has set up all that it sets up before. */
  get isServing(): boolean {
    return this.isRunning && this.#isEnabled;
  }

  /** Requests under way. */
  get requests(): number {
    return this.#queue?.requests ?? 0;
  }

  get size(): number {
    return this.#size;
  }

  set size(size: number) {
    this.#demandStopped("size");
    this.#size = size;
  }

  set base(base: number) {
    this.#demandStopped("base");
    this.#base = base;
  }

  /** A running ring may be told its place again: QEMU does so when it begins to log. */
  set place(place: RingPlace) {
    const current = this.#place;
    const isSame =
      current?.descriptors === place.descriptors &&
      current.available === place.available &&
      current.used === place.used;
    if (!isSame) this.#demandStopped("place");
    this.#place = place;
  }

  set kick(kick: RemoteEvent) {
    // What is refused is closed with the ring.
    this.#forgetKick();
    this.#kick = kick;
    this.#demandStopped("kick");
  }

  set call(call: RemoteEvent | undefined) {
    this.#call?.close();
    this.#call = call;
    if (this.#queue !== undefined) this.#queue.call = call;
  }

  set error(error: RemoteEvent | undefined) {
    this.#error?.close();
    this.#error = error;
  }

  /** Where writes to the used ring are told, if the front end wants that of this ring. */
  set log(log: DirtyLog | undefined) {
    this.#log = log;
    const split = this.#split;
    if (split === undefined) return;
    const address = this.#place?.logAddress;
    const usedBytes = usedRingBytes(this.#size);
    split.onUsedWritten = undefined;
    if (log === undefined || address === undefined) return;
    demand(log.covers(address, usedBytes), `ring ${this.#index} lies beyond the dirty log`);
    split.onUsedWritten = () => log.mark(address, usedBytes);
  }

  /** Starts the ring: it has got its kick. */
  start(guest: GuestMemory, options: RingOptions): void {
    const kick = this.#kick;
    demand(kick !== undefined, `ring ${this.#index} has no kick`);
    demand(this.#size > 0, `ring ${this.#index} has no size`);
    demand(this.#place !== undefined, `ring ${this.#index} has no place`);
    const split = new SplitQueue(guest, this.#place, {
      entryCount: this.#size,
      base: this.#base,
      ...options,
    });
    const queue = new BlockQueue(split, this.#makeWorld(kick));
    this.#split = split;
    this.#queue = queue;
    this.log = this.#log;
    queue.call = this.#call;
    kick.watch(() => queue.process());
    queue.enable(this.#isEnabled);
  }

  enable(isEnabled: boolean): void {
    this.#isEnabled = isEnabled;
    this.#queue?.enable(isEnabled);
  }

  remap(): void {
    this.#queue?.remap();
  }

  /** Answers what is under way; then the ring is stopped, and `done` gets its next entry. */
  stop(done: (base: number) => void): void {
    const queue = this.#queue;
    if (queue === undefined) {
      this.#forgetKick();
      done(this.#base);
      return;
    }
    queue.stop((base) => {
      this.#base = base;
      this.#forgetQueue();
      queue.close(() => undefined);
      done(base);
    });
  }

  /** Takes nothing more; `done` comes when everything under way is answered. */
  quiesce(done: () => void): void {
    if (this.#queue === undefined) done();
    else this.#queue.stop(() => done());
  }

  /** Touches the guest's memory no more. `done` comes when the volume has answered. */
  close(done: () => void): void {
    const queue = this.#queue;
    this.#forgetQueue();
    this.call = undefined;
    this.error = undefined;
    if (queue === undefined) done();
    else queue.close(done);
  }

  /** The driver broke a rule. */
  signalError(): void {
    this.#error?.signal();
  }

  #forgetQueue(): void {
    this.#queue = undefined;
    this.#split = undefined;
    this.#forgetKick();
  }

  #forgetKick(): void {
    this.#kick?.close();
    this.#kick = undefined;
  }

  #demandStopped(what: string): void {
    demand(!this.isRunning, `ring ${this.#index} is given a new ${what} while it runs`);
  }
}
