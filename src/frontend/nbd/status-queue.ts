/**
 * Block statuses of one connection, one after the other: a request of 28 bytes can ask for a walk
 * over 4 GiB of maps, and whoever asks for many has no more of the host than who asks for one.
 */
import type { Extent, VolumeIo } from "../../object/index.ts";

export interface StatusOwner {
  statusDone(slot: number, extents: readonly Extent[]): void;
  /** Also with what `statusDone` has thrown: nothing here may end the host. */
  statusFailed(slot: number, error: unknown): void;
}

interface Status {
  readonly slot: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly extentsMax: number;
}

export class StatusQueue {
  readonly #volume: VolumeIo;
  readonly #owner: StatusOwner;
  /** As many as there are slots at the most. */
  #waiting: Status[] = [];
  #isUnderWay = false;

  constructor(volume: VolumeIo, owner: StatusOwner) {
    this.#volume = volume;
    this.#owner = owner;
  }

  /** Whether the volume has been asked for one and has not answered. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  add(status: Status): void {
    this.#waiting.push(status);
    this.#next();
  }

  /** Forgets those that wait: they will not be answered. */
  stop(): void {
    this.#waiting = [];
  }

  #next(): void {
    if (this.#isUnderWay) return;
    const status = this.#waiting.shift();
    if (status === undefined) return;
    this.#isUnderWay = true;
    void this.#tell(status);
  }

  async #tell({ slot, offset, lengthBytes, extentsMax }: Status): Promise<void> {
    try {
      const extents = await this.#volume.extents(offset, lengthBytes, extentsMax);
      this.#isUnderWay = false;
      this.#owner.statusDone(slot, extents);
    } catch (error) {
      this.#isUnderWay = false;
      this.#owner.statusFailed(slot, error);
    }
    this.#next();
  }
}
