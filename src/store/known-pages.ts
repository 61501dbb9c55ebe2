/** Which pages of the logical map there are. */
import { getBigEndian, logicalKey } from "../format/index.ts";
import type { DeviceState } from "./device-state.ts";

/** The most pages that `existingPages` returns at once. */
export const PAGES_FOUND_MAX: number = 1024;
/**
 * Pages that one metadata batch changes at most when it applies ranges or removes components. Each
 * may point to 64 contents, and clients wait while their references are dropped.
 */
export const PAGES_PER_UPDATE_MAX: number = 64;

/** Numbers of logical-map pages of a component in [first, last] that exist, the first of them. */
export function existingPages(
  state: DeviceState,
  component: number,
  first: number,
  last: number,
): number[] {
  const pages: number[] = [];
  state.metadata.scan(logicalKey(component, first), logicalKey(component, last + 1), (key) => {
    pages.push(getBigEndian(key, 5, 4));
    return pages.length < PAGES_FOUND_MAX;
  });
  return pages;
}

/** As `existingPages`, with those that it shares. */
export function knownPages(
  state: DeviceState,
  component: number,
  first: number,
  last: number,
): number[] {
  const own = existingPages(state, component, first, last);
  const info = state.components.at(component);
  if (info === undefined || info.base === 0 || first >= info.basePages) return own;
  const shared = knownPages(state, info.base, first, Math.min(last, info.basePages - 1));
  const all = new Set([...own, ...shared]);
  return [...all].toSorted((a, b) => a - b).slice(0, PAGES_FOUND_MAX);
}
