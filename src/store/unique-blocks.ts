/**
 * How much room a component takes that nobody else needs: what its removal would give back. Only
 * its own pages are looked at, of which a snapshot has those that were changed since: a page that
 * another one shares goes on to that one, and of the rest a content is unique if nothing but these
 * pages points to it.
 */
import {
  CONTENT_ID_BYTES,
  contentKey,
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_MAX,
} from "../format/index.ts";
import type { ComponentInfo } from "./component-table.ts";
import { decodeContent } from "./content-references.ts";
import { existingPages } from "./known-pages.ts";
import type { Device } from "./device.ts";
import type { DeviceState } from "./device-state.ts";
import { contentAt, ENTRY_BYTES, physicalOf } from "./logical-map.ts";

const PAGE_LAST = 2 ** 32 - 2;
/** Pages that are looked at before others get a turn. */
const PAGES_AT_ONCE = 64;

interface Pointed {
  readonly key: Uint8Array;
  count: number;
}

/** 0 if the device does not have it. */
export async function uniqueBlocks({ state }: Device, componentId: string): Promise<number> {
  const info = state.components.all().find((one) => one.componentId === componentId);
  if (info === undefined || info.deleting) return 0;
  const pointed = new Map<number, Pointed>();
  let seen = 0;
  for (let next = 0; ;) {
    const pages = existingPages(state, info.index, next, PAGE_LAST);
    for (const page of pages) {
      if (isShared(state, info, page)) continue;
      countPointers(state, info, page, pointed);
      if (++seen % PAGES_AT_ONCE === 0) await pause(state);
    }
    const last = pages.at(-1);
    if (last === undefined) break;
    next = last + 1;
  }
  let unique = 0;
  for (const { key, count } of pointed.values()) {
    const value = state.metadata.get(key);
    const content = value && decodeContent(key, value);
    if (content?.references === count) unique++;
  }
  return unique;
}

/** Whether somebody gets the page if the component goes. */
function isShared(
  { components, regions }: DeviceState,
  info: ComponentInfo,
  page: number,
): boolean {
  for (const heir of components.heirs(info.index))
    if (page < heir.basePages && !regions.hasPage(heir.index, page)) return true;
  return false;
}

function countPointers(
  state: DeviceState,
  info: ComponentInfo,
  page: number,
  pointed: Map<number, Pointed>,
): void {
  const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
  state.logical.read(info.index, page, entries, 0);
  for (let i = 0; i < PAGE_BLOCKS; i++) {
    const physical = physicalOf(entries, i * ENTRY_BYTES);
    if (physical >= PHYSICAL_MAX) continue;
    const known = pointed.get(physical);
    if (known !== undefined) {
      known.count++;
      continue;
    }
    const key = new Uint8Array(1 + CONTENT_ID_BYTES);
    contentKey(entries, contentAt(i * ENTRY_BYTES), key);
    pointed.set(physical, { key, count: 1 });
  }
}

function pause({ clock }: DeviceState): Promise<void> {
  return new Promise((resolve) => void clock.after(0, resolve));
}
