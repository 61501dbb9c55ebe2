/** What the parts of one open device share. Built by `Device`, handed to each part. */
import type { HurtPlaces } from "./hurt-places.ts";
import type { Clock, Digests, Disk, DiskRequests, Log, MetadataStore } from "../ports/index.ts";
import type { Superblock } from "../format/index.ts";
import type { ArrivingContents } from "./arriving-contents.ts";
import type { KeptOffers } from "./kept-offers.ts";
import type { BlockCache } from "./block-cache.ts";
import type { ChangeLog } from "./change-log.ts";
import type { ComponentTable } from "./component-table.ts";
import type { DeviceRules } from "./device-options.ts";
import type { ContentReferences } from "./content-references.ts";
import type { Journal } from "./journal.ts";
import type { LogicalMap } from "./logical-map.ts";
import type { PendingBlocks } from "./pending-blocks.ts";
import type { ReadStamps } from "./read-stamps.ts";
import type { RegionMap } from "./region-map.ts";
import type { SpaceMap } from "./space-map.ts";
import type { VoidRecords } from "./void-records.ts";

export interface DevicePorts {
  readonly disk: Disk;
  readonly metadata: MetadataStore;
  readonly digests: Digests;
  readonly clock: Clock;
  readonly log: Log;
}

/** Something about a device that an operator should know. */
export interface DeviceEvent {
  readonly kind:
    | "block-damaged" // A stored block did not match its checksum, or could not be read.
    | "block-repaired"
    | "metadata-damaged"
    | "journal-repaired"
    | "superblock-repaired"
    | "no-space"
    | "space-available"
    | "device-failed"
    | "scrub-finished";
  readonly level: "info" | "warning" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface DeviceState extends DevicePorts {
  readonly rules: DeviceRules;
  readonly requests: DiskRequests;
  readonly superblock: Superblock;
  readonly journal: Journal;
  readonly pending: PendingBlocks;
  readonly voids: VoidRecords;
  readonly changeLog: ChangeLog;
  readonly arriving: ArrivingContents;
  readonly keptOffers: KeptOffers;
  readonly space: SpaceMap;
  readonly logical: LogicalMap;
  readonly regions: RegionMap;
  readonly blockCache: BlockCache;
  readonly readStamps: ReadStamps;
  readonly components: ComponentTable;
  /** Reference changes of the one map update that is under way. */
  readonly contents: ContentReferences;
  /** Physical blocks known to be damaged: a write of the same content repairs them in place. */
  readonly badBlocks: Set<number>;
  readonly hurt: HurtPlaces;
  readonly counters: DeviceCounters;
  emit(event: DeviceEvent): void;
  /** A stored block cannot be believed: remember it, report it. */
  blockDamaged(where: {
    component: number;
    blockIndex: number;
    physical: number;
    reason: string;
  }): void;
}

export interface DeviceCounters {
  blocksRead: number;
  blocksFromMemory: number;
  checksumErrors: number;
  readErrors: number;
  metadataErrors: number;
  destagedBlocks: number;
  duplicateBlocks: number;
  zeroBlocks: number;
  supersededBlocks: number;
  writtenBlocks: number;
  repairedBlocks: number;
  punchedBlocks: number;
  destageBatches: number;
}

export function newCounters(): DeviceCounters {
  return {
    blocksRead: 0,
    blocksFromMemory: 0,
    checksumErrors: 0,
    readErrors: 0,
    metadataErrors: 0,
    destagedBlocks: 0,
    duplicateBlocks: 0,
    zeroBlocks: 0,
    supersededBlocks: 0,
    writtenBlocks: 0,
    repairedBlocks: 0,
    punchedBlocks: 0,
    destageBatches: 0,
  };
}
