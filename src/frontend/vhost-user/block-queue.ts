/**
 * One virtqueue of a disk at work: takes requests when the driver kicks, gives answers back in
 * batches, and wakes the driver once per batch.
 */
import type { IoFault } from "../../object/index.ts";
import type { RemoteEvent } from "../../ports/index.ts";
import type { ReadMemory } from "../nbd/read-memory.ts";
import type { BlockDevice } from "./block-device.ts";
import { BlockRequests } from "./block-requests.ts";
import type { RequestOwner } from "./block-requests.ts";
import type { Chain } from "./chain.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { ShortPoll } from "./short-poll.ts";
import type { SplitQueue } from "./split-queue.ts";

export interface QueueWorld {
  readonly device: BlockDevice;
  readonly guest: GuestMemory;
  readonly memory: ReadMemory;
  readonly staging: Uint8Array;
  /** How the driver says that there is something to take. */
  readonly kick: RemoteEvent;
  /** Undefined: the queue is looked at when its driver kicks, and never by itself. */
  readonly shortPoll: ShortPoll | undefined;
  /** What was thrown outside of a message. Throws nothing. */
  readonly failed: (error: unknown) => void;
  readonly volumeGone: (fault: IoFault) => void;
}

export class BlockQueue implements RequestOwner {
  readonly #world: QueueWorld;
  readonly #queue: SplitQueue;
  readonly #requests: BlockRequests;
  #call: RemoteEvent | undefined;
  #isEnabled = false;
  #isStopping = false;
  #isClosed = false;
  #isTurnDue = false;
  readonly #whenStopped: (() => void)[] = [];
  #whenDrained: (() => void) | undefined;

  constructor(queue: SplitQueue, world: QueueWorld) {
    const { device, guest, memory, staging } = world;
    this.#world = world;
    this.#queue = queue;
    this.#requests = new BlockRequests(device, guest, memory, staging, this);
  }

  get requests(): number {
    return this.#requests.activeCount;
  }

  /** How the device tells the driver of answers; undefined where the driver looks by itself. */
  set call(call: RemoteEvent | undefined) {
    this.#call = call;
    // What was given before might not have been told.
    call?.signal();
  }

  /** The guest's memory was described anew. */
  remap(): void {
    this.#queue.remap();
  }

  /** Takes requests from now on, or none. */
  enable(isEnabled: boolean): void {
    this.#isEnabled = isEnabled;
    if (isEnabled) this.process();
  }

  /** Takes what is available. Throws nothing. */
  process(): void {
    if (!this.#isEnabled || this.#isStopping || this.#isClosed) return;
    try {
      this.#takeAll();
    } catch (error) {
      this.failed(error);
    }
    try {
      // After a fault as well: nobody is listened to again before the volume has answered.
      this.#world.device.volume.submit();
      this.#publish();
    } catch (error) {
      this.failed(error);
    }
  }

  /** Takes nothing more; `whenStopped` gets the next entry once everything is answered. */
  stop(whenStopped: (base: number) => void): void {
    this.#isStopping = true;
    this.#whenStopped.push(() => whenStopped(this.#queue.base));
    this.#reportStopped();
  }

  /** Touches the guest's memory no more. `whenDrained` comes once the volume has answered. */
  close(whenDrained: () => void): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#requests.abandon();
    this.#queue.close();
    if (this.#requests.isDrained) whenDrained();
    else this.#whenDrained = whenDrained;
  }

  // For the requests.

  finished(chain: Chain, writtenBytes: number): void {
    this.#queue.give(chain.head, writtenBytes);
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    void Promise.resolve().then(this.#turn);
  }

  proceed(): void {
    this.process();
  }

  failed(error: unknown): void {
    this.#world.failed(error);
  }

  volumeGone(fault: IoFault): void {
    this.#world.volumeGone(fault);
  }

  drained(): void {
    this.#whenDrained?.();
  }

  #takeAll(): void {
    const queue = this.#queue;
    const requests = this.#requests;
    // A driver that refills the queue while it is emptied must not keep others from their turn.
    let left = queue.entryCount;
    this.#world.shortPoll?.begin(queue);
    queue.refuseKicks();
    for (;;) {
      while (left > 0 && !requests.isStalled && queue.take(requests.takeChain())) {
        requests.start();
        left--;
      }
      if (requests.isStalled || this.#isClosed) return;
      if (left === 0) {
        this.#world.kick.signal();
        return;
      }
      if (this.#looksLonger()) continue;
      if (!queue.askForKicks()) return;
    }
  }

  /** Only when nothing is under way, whose answers this thread has to take. */
  #looksLonger(): boolean {
    const { shortPoll } = this.#world;
    if (shortPoll === undefined || this.#requests.activeCount > 0) return false;
    this.#publish();
    return shortPoll.awaits(this.#queue);
  }

  readonly #turn = (): void => {
    this.#isTurnDue = false;
    try {
      this.#publish();
      this.#reportStopped();
    } catch (error) {
      this.failed(error);
    }
  };

  #publish(): void {
    if (!this.#isClosed && this.#queue.publish()) this.#call?.signal();
  }

  #reportStopped(): void {
    if (!this.#isStopping || this.#isClosed || this.#requests.activeCount > 0) return;
    this.#publish();
    for (const whenStopped of this.#whenStopped.splice(0)) whenStopped();
  }
}
