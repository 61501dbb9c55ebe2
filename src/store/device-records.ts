/** The singleton records of a device's metadata: checkpoint and what is loaded once at start. */
import {
  CodedError,
  fromHex,
  getU16,
  getU32,
  getU64,
  setU16,
  setU32,
  setU64,
  toHex,
} from "../base/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import type { MetadataStore } from "../ports/index.ts";
import {
  checkpointKey,
  CheckpointLayout,
  componentKey,
  FORMAT_VERSION,
  getBigEndian,
  keyAfterPrefix,
  SpaceValueLayout,
  sealValue,
  spaceKey,
  TABLE_BAD_BLOCK,
  TABLE_COMPONENT,
  TABLE_SPACE,
  valueIsIntact,
} from "../format/index.ts";
import { decodeComponent, encodeComponent } from "./component-table.ts";
import type { ComponentInfo, ComponentTable } from "./component-table.ts";
import { SpaceMap } from "./space-map.ts";

export interface Checkpoint {
  readonly incarnation: number;
  /** Every frame up to this one is destaged. */
  readonly frameNumber: number;
  /** Segment in which replay begins. */
  readonly generation: number;
  readonly deviceId: string;
  readonly componentNext: number;
  readonly usedBlocks: number;
}

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const at = CheckpointLayout.at;
  const value = new Uint8Array(CheckpointLayout.sizeBytes);
  setU16(value, at.formatVersion, FORMAT_VERSION);
  setU64(value, at.incarnation, checkpoint.incarnation);
  setU64(value, at.frameNumber, checkpoint.frameNumber);
  setU64(value, at.generation, checkpoint.generation);
  value.set(fromHex(checkpoint.deviceId), at.deviceId);
  setU32(value, at.componentNext, checkpoint.componentNext);
  setU64(value, at.usedBlocks, checkpoint.usedBlocks);
  sealValue(checkpointKey(), value);
  return value;
}

function metadataDamaged(what: string): CodedError {
  return new CodedError({
    code: "metadata-damaged",
    message: `the metadata of the device is damaged: ${what}`,
    hint: "Restore the device's metadata from a copy, or rebuild the device from its mirrors",
  });
}

/**
 * Fails with `metadata-missing`, `metadata-damaged`, `metadata-other-device` or `format-unknown`.
 */
export function readCheckpoint(metadata: MetadataStore, deviceId: string): Checkpoint {
  const at = CheckpointLayout.at;
  const value = metadata.get(checkpointKey());
  if (value === undefined) {
    throw new CodedError({
      code: "metadata-missing",
      message: "the device has a superblock and no metadata",
      hint: "Put the device's metadata directory back; without it the blocks cannot be told apart",
    });
  }
  if (value.length !== CheckpointLayout.sizeBytes || !valueIsIntact(checkpointKey(), value)) {
    throw metadataDamaged("its checkpoint does not match its checksum");
  }
  const formatVersion = getU16(value, at.formatVersion);
  if (formatVersion !== FORMAT_VERSION) {
    throw new CodedError({
      code: "format-unknown",
      message: `the metadata has format version ${formatVersion}, which this version does not know`,
      hint: "Start it with the version of Drystone that wrote it, or a later one",
    });
  }
  const owner = toHex(value.subarray(at.deviceId, at.deviceId + 16));
  if (owner !== deviceId) {
    throw new CodedError({
      code: "metadata-other-device",
      message: `the metadata belongs to device ${owner}, not to ${deviceId}`,
      hint: "Put each device's own metadata directory beside it",
    });
  }
  return {
    incarnation: getU64(value, at.incarnation),
    frameNumber: getU64(value, at.frameNumber),
    generation: getU64(value, at.generation),
    deviceId,
    componentNext: getU32(value, at.componentNext),
    usedBlocks: getU64(value, at.usedBlocks),
  };
}

export async function commitCheckpoint(
  metadata: MetadataStore,
  checkpoint: Checkpoint,
): Promise<void> {
  const batch = new MetadataBatch();
  batch.put(checkpointKey(), encodeCheckpoint(checkpoint));
  await metadata.commit(batch);
}

export async function commitComponent(metadata: MetadataStore, info: ComponentInfo): Promise<void> {
  const batch = new MetadataBatch();
  batch.put(componentKey(info.index), encodeComponent(info));
  await metadata.commit(batch);
}

function scanTable(
  metadata: MetadataStore,
  table: number,
  visit: (key: Uint8Array, value: Uint8Array) => void,
): void {
  const prefix = Uint8Array.of(table);
  metadata.scan(prefix, keyAfterPrefix(prefix), (key, value) => {
    visit(key, value);
    return true;
  });
}

export function loadComponents(metadata: MetadataStore, into: ComponentTable): void {
  scanTable(metadata, TABLE_COMPONENT, (key, value) => {
    const index = getBigEndian(key, 1, 4);
    const info = decodeComponent(index, value);
    if (info === undefined) throw metadataDamaged(`component ${index} does not match its checksum`);
    into.add(info);
  });
}

/** Fails with `metadata-damaged`. */
export function openSpace(metadata: MetadataStore, blockCount: number): SpaceMap {
  const isIntact = (key: Uint8Array, value: Uint8Array): boolean =>
    value.length === SpaceValueLayout.sizeBytes && valueIsIntact(key, value);
  const space = new SpaceMap(blockCount, (group) => {
    const key = spaceKey(group);
    const value = metadata.get(key);
    return value !== undefined && isIntact(key, value) ? value : undefined;
  });
  space.listen((group) => {
    throw metadataDamaged(`space map group ${group} cannot be read`);
  });
  scanTable(metadata, TABLE_SPACE, (key, value) => {
    const group = getBigEndian(key, 1, 4);
    if (!isIntact(key, value))
      throw metadataDamaged(`space map group ${group} does not match its checksum`);
    if (group >= space.groupCount)
      throw metadataDamaged(`space map group ${group} lies beyond the device`);
    space.countGroup(group, value);
  });
  space.assumeUnpunched();
  return space;
}

export function loadBadBlocks(metadata: MetadataStore): Set<number> {
  const blocks = new Set<number>();
  scanTable(metadata, TABLE_BAD_BLOCK, (key) => void blocks.add(getBigEndian(key, 1, 6)));
  return blocks;
}
