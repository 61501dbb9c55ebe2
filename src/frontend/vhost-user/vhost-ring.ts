/**
 * One ring of a connection: what the front end has said of it, and, while it runs, its queue. A
 * ring runs from the moment that its kick is there until its base is asked for.
 */
import type { RemoteEvent } from "../../ports/index.ts";
import { BlockQueue } from "./block-queue.ts";
import type { QueueWorld } from "./block-queue.ts";
import { SplitQueue } from "./split-queue.ts";
import type { QueueAddresses } from "./split-queue.ts";
import { demand } from "./violation.ts";

export interface RingFeatures {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
}

export class VhostRing {
  readonly #index: number;
  readonly #makeWorld: (kick: RemoteEvent) => QueueWorld;
  #size = 0;
  #base = 0;
  #addresses: QueueAddresses | undefined;
  #kick: RemoteEvent | undefined;
  #call: RemoteEvent | undefined;
  #error: RemoteEvent | undefined;
  #isEnabled = false;
  #queue: BlockQueue | undefined;

  constructor(index: number, makeWorld: (kick: RemoteEvent) => QueueWorld) {
    this.#index = index;
    this.#makeWorld = makeWorld;
  }

  get isRunning(): boolean {
    return this.#queue !== undefined;
  }

  /** Requests under way. */
  get requests(): number {
    return this.#queue?.requests ?? 0;
  }

  set size(size: number) {
    this.#demandStopped("size");
    this.#size = size;
  }

  set base(base: number) {
    this.#demandStopped("base");
    this.#base = base;
  }

  /** A running ring may be told its addresses again: QEMU does so when it begins to log. */
  set addresses(addresses: QueueAddresses) {
    const current = this.#addresses;
    const isSame =
      current?.descriptors === addresses.descriptors &&
      current.available === addresses.available &&
      current.used === addresses.used;
    if (!isSame) this.#demandStopped("place");
    this.#addresses = addresses;
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

  /** Starts the ring, or goes on with another kick. */
  start(kick: RemoteEvent, features: RingFeatures, guest: QueueWorld["guest"]): void {
    // Whatever is refused below, the ring closes it.
    this.#forgetKick();
    this.#kick = kick;
    this.#demandStopped("kick");
    demand(this.#size > 0, `ring ${this.#index} has no size`);
    demand(this.#addresses !== undefined, `ring ${this.#index} has no place`);
    const options = { entryCount: this.#size, base: this.#base, ...features };
    const queue = new BlockQueue(
      new SplitQueue(guest, this.#addresses, options),
      this.#makeWorld(kick),
    );
    this.#queue = queue;
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
      this.#queue = undefined;
      this.#forgetKick();
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
    this.#queue = undefined;
    this.#forgetKick();
    this.call = undefined;
    this.error = undefined;
    if (queue === undefined) done();
    else queue.close(done);
  }

  /** The driver broke a rule. */
  signalError(): void {
    this.#error?.signal();
  }

  #forgetKick(): void {
    this.#kick?.close();
    this.#kick = undefined;
  }

  #demandStopped(what: string): void {
    demand(!this.isRunning, `ring ${this.#index} is given a new ${what} while it runs`);
  }
}
