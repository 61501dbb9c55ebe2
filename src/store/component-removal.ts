/** Growing and removing components: changes of the maps that have no transaction of their own. */
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { componentKey, getBigEndian, keyAfterPrefix, regionsKey } from "../format/index.ts";
import { encodeComponent } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import { existingPages, PAGES_PER_UPDATE_MAX } from "./known-pages.ts";
import { commitComponent } from "./device-records.ts";
import type { DeviceState } from "./device-state.ts";
import { MapUpdate } from "./map-update.ts";

const PAGE_LAST = 2 ** 32 - 2;

export async function resizeComponentMaps(
  state: DeviceState,
  info: ComponentInfo,
  sizeBytes: number,
): Promise<void> {
  const blockCount = sizeBytes / BLOCK_SIZE_BYTES;
  if (blockCount < info.blockCount) {
    throw new CodedError({
      code: "shrink-unsupported",
      message: `component ${info.componentId} cannot shrink`,
      hint: "Create a smaller volume and copy the data",
    });
  }
  const before = info.blockCount;
  info.blockCount = blockCount;
  try {
    await commitComponent(state.metadata, info);
  } catch (error) {
    info.blockCount = before;
    throw error;
  }
}

/** Groups of digests that one metadata batch gives away at most. */
const GROUPS_PER_UPDATE_MAX = 256;

/** Idempotent: a removal that a crash cut short goes on with the pages that are left. */
export async function deleteComponentMaps(state: DeviceState, info: ComponentInfo): Promise<void> {
  await commitComponent(state.metadata, info);
  for (;;) {
    const pages = existingPages(state, info.index, 0, PAGE_LAST);
    if (pages.length === 0) break;
    for (let first = 0; first < pages.length; first += PAGES_PER_UPDATE_MAX) {
      const update = new MapUpdate(state);
      for (const page of pages.slice(first, first + PAGES_PER_UPDATE_MAX))
        update.removePage(info, page);
      await update.commit(() => {});
    }
  }
  const groups = groupKeys(state, info);
  await giveGroups(state, info, groups);
  await removeLast(state, info, groups);
  state.regions.forget(info.index);
  state.components.remove(info);
}

function groupKeys(state: DeviceState, info: ComponentInfo): Uint8Array[] {
  const keys: Uint8Array[] = [];
  const first = regionsKey(info.index, 0);
  state.metadata.scan(first, keyAfterPrefix(first.subarray(0, 5)), (key) => {
    keys.push(key.slice());
    return true;
  });
  return keys;
}

/** Digests may be shared where no page is any more. */
async function giveGroups(
  state: DeviceState,
  info: ComponentInfo,
  groups: readonly Uint8Array[],
): Promise<void> {
  if (state.components.heirs(info.index).size === 0) return;
  let update = new MapUpdate(state);
  for (const key of groups) {
    update.giveGroup(info, getBigEndian(key, 5, 4));
    if (update.groupCount < GROUPS_PER_UPDATE_MAX) continue;
    await update.commit(() => {});
    update = new MapUpdate(state);
  }
  await update.commit(() => {});
}

/** What it shared with its base, its heirs share with that one from now on. */
async function removeLast(
  state: DeviceState,
  info: ComponentInfo,
  groups: readonly Uint8Array[],
): Promise<void> {
  const heirs = [...state.components.heirs(info.index)];
  const before = heirs.map(({ base, basePages }) => ({ base, basePages }));
  for (const heir of heirs) {
    const basePages = Math.min(heir.basePages, info.basePages);
    state.components.inherit(heir, { base: info.base, basePages });
  }
  try {
    await new MapUpdate(state).commit((batch) => {
      for (const key of groups) batch.delete(key);
      for (const heir of heirs) batch.put(componentKey(heir.index), encodeComponent(heir));
      batch.delete(componentKey(info.index));
    });
  } catch (error) {
    for (const [i, heir] of heirs.entries()) state.components.inherit(heir, before[i]!);
    throw error;
  }
}
