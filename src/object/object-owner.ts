/**
 * Ownership of one object: taken by compare-and-swap on its record, held at one epoch, given up or lost.
 * While it lasts, `volume` is the only way to the object's data.
 */
import { CodedError } from "../base/index.ts";
import type { ComponentState, TreeNode } from "../cluster/index.ts";
import type { Clock, Directory, Log } from "../ports/index.ts";
import type { Component } from "../store/index.ts";
import type { VolumeIo } from "./volume-io.ts";

export interface OwnerWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The way to a component, undefined while there is none. */
  readonly components: (componentId: string) => Component | undefined;
  /** Makes a component larger, durably. Doing it twice changes nothing. */
  readonly growComponent: (componentId: string, blockCount: number) => Promise<void>;
  /** False once this host may have been replaced: nothing is read from then on. */
  readonly isLeaseAlive: () => boolean;
  /** Whether the host that the record names as owner may still be at work. */
  readonly isHostAlive: (hostId: string) => Promise<boolean>;
}

/** For `volume show`. */
export interface OwnerState {
  readonly objectId: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly epoch: number;
  readonly owner: string;
  readonly accessible: boolean;
  /** Why it is not accessible any more. */
  readonly reason: string | undefined;
  readonly tree: TreeNode;
  readonly components: readonly ComponentOwnerState[];
}

export interface ComponentOwnerState {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
  readonly state: ComponentState;
  /** The last sequence that is decided. */
  readonly sequence: number;
}

export class ObjectOwner {
  /**
   * Fails with `object-not-found`, `volume-in-use` (another host that is alive owns it),
   * `object-inaccessible` (no quorum, or no full leg) or `not-owner` (replaced meanwhile).
   */
  static async take(world: OwnerWorld, objectId: string, readOnly: boolean): Promise<ObjectOwner> {
    return Promise.reject(unimplemented(`${world.hostId} ${objectId} ${readOnly}`));
  }

  get volume(): VolumeIo {
    throw unimplemented("volume");
  }

  get state(): OwnerState {
    throw unimplemented("state");
  }

  /** Grows the volume while it is in use. Fails as `growVolumeRecord` does, or with `not-owner`. */
  async resize(sizeBytes: number): Promise<void> {
    return Promise.reject(unimplemented(String(sizeBytes)));
  }

  /** Called once if ownership is lost. */
  onStopped(callback: (reason: string) => void): void {
    callback("unimplemented");
    throw unimplemented("onStopped");
  }

  /** Answers what is in flight, gives up ownership, and resolves. Everything later is refused. */
  async close(): Promise<void> {
    return Promise.reject(unimplemented("close"));
  }
}

function unimplemented(what: string): CodedError {
  return new CodedError({
    code: "unimplemented",
    message: `the owner cannot do that yet: ${what}`,
  });
}
