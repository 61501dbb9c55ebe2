/** What an owner needs of the host that it runs on, and the rules that it keeps. */
import type { ObjectRecord } from "../cluster/index.ts";
import type { Clock, Directory, DiskMemory, Log } from "../ports/index.ts";
import type { Component } from "../store/index.ts";
import type { CopyComparison } from "./copy-compare.ts";
import type { ResyncPace } from "./change-exchange.ts";
import type { ResyncState, ResyncTraffic } from "./resync-progress.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";
import type { TransferMemory } from "./transfer-memory.ts";

/**
 * What keeps data safe, one switch per rule. Production code leaves all of them on; trials take one
 * out at a time, to see that they would find out.
 */
export interface OwnerRules {
  /** A member that lacks a write is stale by compare-and-swap before the write is answered. */
  readonly marksStaleFirst: boolean;
  readonly settlesTail: boolean;
  readonly verifiesCatchUp: boolean;
  readonly filtersByRange: boolean;
  /** A stale component takes part only when it has caught up. */
  readonly excludesStale: boolean;
  /** An owner goes on without a copy only while it reaches more than half of the votes. */
  readonly needsMajority: boolean;
  /** No change is under way while a snapshot is made of all components. */
  readonly holdsForSnapshots: boolean;
}

export const ALL_RULES: OwnerRules = {
  marksStaleFirst: true,
  settlesTail: true,
  verifiesCatchUp: true,
  filtersByRange: true,
  excludesStale: true,
  needsMajority: true,
  holdsForSnapshots: true,
};

export interface NewPlace {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
}

export type Placing =
  | { readonly kind: "place"; readonly place: NewPlace }
  /** Others come first. */
  | { readonly kind: "waits"; readonly reason: string }
  /** No device of the cluster may take it. Of one `topic` it is told once, whatever the numbers. */
  | {
      readonly kind: "nowhere";
      readonly reason: string;
      readonly hint: string;
      readonly topic: string;
    };

/** What it takes to make components anew. */
export interface Replacing {
  /** Whether the component does not come back. */
  readonly isGivenUp: (record: ObjectRecord, componentId: string) => Promise<boolean>;
  /** Whether it has to leave its device although nothing is wrong with it. */
  readonly isLeaving: (record: ObjectRecord, componentId: string) => Promise<boolean>;
  /**
   * Where another one is to be made in place of a leaf, if there is room and it is its turn; not on
   * devices that are `avoided`.
   */
  readonly placeFor: (
    record: ObjectRecord,
    componentId: string,
    avoided?: ReadonlySet<string>,
  ) => Promise<Placing>;
  /** Whether it is the turn of its change of policy. */
  readonly mayChange: (record: ObjectRecord) => Promise<boolean>;
  /** Makes a component that lacks everything, under an intent. */
  readonly makeComponent: (place: NewPlace, objectId: string, blockCount: number) => Promise<void>;
  /** Removes it and its intent; fails if that has to wait until its host is back. */
  readonly removeComponent: (componentId: string, hostId: string) => Promise<void>;
  /** Counts what they were sent. */
  readonly traffic: ResyncTraffic;
  /** One was made; how it went. */
  readonly onMade: (went: ResyncState) => void;
}

export interface OwnerWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  /** As people call it. */
  readonly nameOf: (hostId: string) => string;
  readonly log: Log;
  readonly clock: Clock;
  /** Memory for the targets of reads, that every device of this host can read into. */
  readonly allocate: (lengthBytes: number) => DiskMemory;
  /** One for all objects of the host. */
  readonly transferMemory: TransferMemory;
  /** For parts of blocks, shared by all objects of a host: disks never take memory back. */
  readonly scratch?: ScratchBlocks;
  /** The way to a component, undefined while there is none. */
  readonly components: (componentId: string, hostId: string) => Component | undefined;
  /** Whether it is on this host. */
  readonly isNear: (componentId: string) => boolean;
  /** Counts what returning components were sent. */
  readonly catchUp: ResyncTraffic;
  /** Without it nothing is held back for the sake of who uses the host's volumes. */
  readonly pace?: ResyncPace;
  /** False: data goes at once, as in a plain copy, for comparison. */
  readonly offersFingerprints?: () => boolean;
  /** Something about the object that an operator should know. */
  readonly addEvent: (event: OwnerEvent) => void;
  /** Somebody begins to take an object; what is returned is called when that has ended. */
  readonly onTaking?: (objectId: string) => () => void;
  /** The object is owned here from now on; what is returned is called when it is no longer. */
  readonly onTaken?: (owned: OwnedObject) => () => void;
  readonly rules?: OwnerRules;
  /** Without it no component is made anew. */
  readonly replacing?: Replacing;
  /** Makes a component larger, durably. Doing it twice changes nothing. */
  readonly growComponent: (
    componentId: string,
    blockCount: number,
    hostId: string,
  ) => Promise<void>;
  /** False once this host may have been replaced: nothing is read from then on. */
  readonly isLeaseAlive: () => boolean;
  /** Only what nobody owns is taken: whoever wants to use the object comes first. */
  readonly isGuest?: boolean;
  /** Asks a host that owns an object for its repair alone to leave it. False if it does not. */
  readonly askToLeave?: (hostId: string, objectId: string) => Promise<boolean>;
  /** Whether the host that the record names as owner may still be at work. */
  readonly isHostAlive: (hostId: string) => Promise<boolean>;
}

/** An object while this host owns it, for who looks for damage. */
export interface OwnedObject {
  readonly objectId: string;
  compareCopies(): Promise<CopyComparison>;
  /** Writes a block of a component again. False if it is none of the object's. */
  repairComponent(componentId: string, blockIndex: number): Promise<boolean>;
}

export interface OwnerEvent {
  readonly kind:
    | "component-stale"
    | "component-active"
    | "component-building"
    | "component-abandoned"
    | "repair-blocked"
    | "policy-changing"
    | "policy-changed"
    | "copies-differed";
  readonly level: "info" | "warning" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number>>;
}
