/** What a device finds damaged is counted, remembered and told of. */
import { getU32 } from "../base/index.ts";
import { badBlockKey } from "../format/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import type { DeviceState } from "./device-state.ts";

export function reportDamagedMetadata(state: DeviceState, what: string, component: number): void {
  state.counters.metadataErrors++;
  state.emit({
    kind: "metadata-damaged",
    level: "error",
    message: `damaged metadata: ${what}; the blocks that it describes read as errors`,
    details: { deviceId: deviceIdOf(state), componentId: componentIdOf(state, component) },
  });
}

/** Nothing is lost by it: space that nobody uses is not used again. */
export function reportDamagedSpace(state: DeviceState, group: number): void {
  state.counters.metadataErrors++;
  state.emit({
    kind: "metadata-damaged",
    level: "error",
    message: `damaged metadata: space map group ${group}; its free blocks count as in use`,
    details: { deviceId: deviceIdOf(state) },
  });
}

export function reportMissingContent(state: DeviceState, id: Uint8Array): void {
  state.counters.metadataErrors++;
  state.emit({
    kind: "metadata-damaged",
    level: "error",
    message: "a logical block names a content that the content map does not have",
    details: { deviceId: deviceIdOf(state), contentPrefix: getU32(id, 0) },
  });
}

export function reportDamagedBlock(
  state: DeviceState,
  where: Parameters<DeviceState["blockDamaged"]>[0],
): void {
  const { physical, blockIndex, reason } = where;
  const componentId = componentIdOf(state, where.component);
  const isNews = !state.badBlocks.has(physical);
  state.emit({
    kind: "block-damaged",
    level: "error",
    message: `block ${blockIndex} of component ${componentId} is damaged: ${reason}`,
    details: { deviceId: deviceIdOf(state), componentId, blockIndex, physical },
  });
  // Found by going through contents, it is of no component yet: see `ReadThrough.damagedPlaces`.
  if (state.components.at(where.component) !== undefined)
    state.hurt.add({ component: where.component, blockIndex });
  if (!isNews) return;
  state.badBlocks.add(physical);
  state.blockCache.remove(physical);
  const batch = new MetadataBatch();
  batch.put(badBlockKey(physical), Uint8Array.of(1));
  state.metadata.commit(batch).catch((error: unknown) => {
    state.log.write("warning", "could not note a damaged block", { error: String(error) });
  });
}

function deviceIdOf(state: DeviceState): string {
  return state.superblock.deviceId;
}

function componentIdOf(state: DeviceState, component: number): string {
  return state.components.at(component)?.componentId ?? "unknown";
}
