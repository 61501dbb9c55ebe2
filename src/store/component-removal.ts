/** Growing and removing components: changes of the maps that have no transaction of their own. */
import { assert, BLOCK_SIZE_BYTES, CodedError, marks } from "../base/index.ts";
import { componentKey, getBigEndian, keyAfterPrefix, regionsKey } from "../format/index.ts";
import { encodeComponent } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import { existingPages, firstPages, PAGES_PER_UPDATE_MAX } from "./known-pages.ts";
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

/** As far as it matters who has fewer. */
const OWN_PAGES_COUNTED = 4096;
/** Groups of digests that one metadata batch gives away at most. */
const GROUPS_PER_UPDATE_MAX = 256;

/** Idempotent: a removal that a crash cut short goes on with the pages that are left. */
export async function deleteComponentMaps(state: DeviceState, info: ComponentInfo): Promise<void> {
  await commitComponent(state.metadata, info);
  await joinHeirs(state, info);
  for (;;) {
    const pages = existingPages(state, info.index, 0, PAGE_LAST);
    if (pages.length === 0) break;
    await updatePages(state, pages, (update, page) => update.removePage(info, page));
  }
  const groups = groupKeys(state, info);
  await giveGroups(state, info, groups);
  await removeLast(state, info, groups);
  state.regions.forget(info.index);
  state.components.remove(info);
}

/** Changes some pages in each batch, so that clients need not wait for all of them. */
async function updatePages(
  state: DeviceState,
  pages: readonly number[],
  change: (update: MapUpdate, page: number) => void,
): Promise<void> {
  for (let first = 0; first < pages.length; first += PAGES_PER_UPDATE_MAX) {
    const update = new MapUpdate(state);
    for (const page of pages.slice(first, first + PAGES_PER_UPDATE_MAX)) change(update, page);
    await update.commit(() => {});
  }
}

/**
 * What several share goes to one of them, which the others share with from now on: a page is given
 * away once. Each batch leaves every component as it was.
 */
async function joinHeirs(state: DeviceState, info: ComponentInfo): Promise<void> {
  const { components } = state;
  if (components.heirs(info.index).size < 2) return;
  const heirs = [...components.heirs(info.index)].map((heir) => ({
    heir,
    // What it has of its own is what the others need copies of.
    own: firstPages(state, heir.index, { first: 0, last: PAGE_LAST, pagesMax: OWN_PAGES_COUNTED })
      .length,
  }));
  const [first, ...others] = heirs
    .toSorted((a, b) => b.heir.basePages - a.heir.basePages || a.own - b.own)
    .map(({ heir }) => heir);
  assert(first !== undefined, "there are several");
  for (const other of others) {
    marks.hit("who shared pages of one that goes came to share another's");
    if (state.rules.keepsDifferences) await ownDifferences(state, other, first);
    const before = { base: other.base, basePages: other.basePages };
    components.inherit(other, { base: first.index, basePages: other.basePages });
    try {
      await commitComponent(state.metadata, other);
    } catch (error) {
      components.inherit(other, before);
      throw error;
    }
  }
}

/** Where the other one has a page or digests of its own, the component comes to have them, too. */
async function ownDifferences(
  state: DeviceState,
  info: ComponentInfo,
  other: ComponentInfo,
): Promise<void> {
  for (let next = 0; next < info.basePages;) {
    const pages = existingPages(state, other.index, next, info.basePages - 1);
    const last = pages.at(-1);
    if (last === undefined) break;
    await updatePages(state, pages, (update, page) => update.ownPage(info, page));
    next = last + 1;
  }
  let update = new MapUpdate(state);
  for (const key of groupKeys(state, other)) {
    update.ownGroup(info, getBigEndian(key, 5, 4));
    if (update.groupCount < GROUPS_PER_UPDATE_MAX) continue;
    await update.commit(() => {});
    update = new MapUpdate(state);
  }
  await update.commit(() => {});
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
