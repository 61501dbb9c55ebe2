/**
 * Tells at once when something has happened that may call for a repair of volumes that nobody uses:
 * a host or device that is to leave or may stay, a host whose lease has ended, a volume that was
 * let go or whose components have changed. Who listens looks, at the latest, now and then anyway:
 * an occasion that is missed while the directory is away costs time and nothing else.
 */
import type { CodedError } from "../base/index.ts";
import { directoryKeys, DirectoryFollower } from "../cluster/index.ts";
import type { DirectoryMirror, ObjectRecord } from "../cluster/index.ts";
import type { Clock, Directory, Log } from "../ports/index.ts";

const RETRY_MS = 1000;

export interface RepairOccasionsWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly objects: Pick<DirectoryMirror<ObjectRecord>, "onChange">;
}

export interface RepairListener {
  /** Something is different from what was seen before. */
  readonly onOccasion: () => void;
  /** Nobody has the object any more. */
  readonly onReleased: (record: ObjectRecord) => void;
}

export class RepairOccasions {
  readonly #world: RepairOccasionsWorld;
  readonly #listener: RepairListener;
  readonly #followers: readonly DirectoryFollower[];
  #isClosed = false;

  constructor(world: RepairOccasionsWorld, listener: RepairListener) {
    this.#world = world;
    this.#listener = listener;
    const { directory, clusterId, clock, log } = world;
    const prefixes = [directoryKeys.services(clusterId), directoryKeys.alives(clusterId)];
    this.#followers = prefixes.map((prefix) => {
      // Who listens reads what it wants to know.
      const read = (): Promise<void> => Promise.resolve(listener.onOccasion());
      const failed = ({ message }: CodedError): void =>
        log.write("info", `occasions for repairs are not heard of: ${message}`, { prefix });
      return new DirectoryFollower({ directory, clock, prefix, retryMs: RETRY_MS, read, failed });
    });
  }

  start(): void {
    this.#world.objects.onChange((before, after) => this.#objectChanged(before, after));
    for (const follower of this.#followers) follower.start();
  }

  close(): void {
    this.#isClosed = true;
    for (const follower of this.#followers) follower.close();
  }

  #objectChanged(before: ObjectRecord | undefined, after: ObjectRecord | undefined): void {
    // Who owns it sees to it.
    if (this.#isClosed || after === undefined || after.owner !== undefined) return;
    if (before?.owner !== undefined) this.#listener.onReleased(after);
    this.#listener.onOccasion();
  }
}
