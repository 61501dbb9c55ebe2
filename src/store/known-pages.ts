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
  return firstPages(state, component, { first, last, pagesMax: PAGES_FOUND_MAX });
}

export interface PageSearch {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
  readonly pagesMax: number;
}

/** The first of its own pages. */
export function firstPages(
  state: DeviceState,
  component: number,
  { first, last, pagesMax }: PageSearch,
): number[] {
  const pages: number[] = [];
  state.metadata.scan(logicalKey(component, first), logicalKey(component, last + 1), (key) => {
    pages.push(getBigEndian(key, 5, 4));
    return pages.length < pagesMax;
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
  return firstKnownPages(state, component, { first, last, pagesMax: PAGES_FOUND_MAX });
}

/** As `firstPages`, with those that it shares. */
export function firstKnownPages(
  state: DeviceState,
  component: number,
  search: PageSearch,
): number[] {
  const own = firstPages(state, component, search);
  const info = state.components.at(component);
  if (info === undefined || info.base === 0 || search.first >= info.basePages) return own;
  const last = Math.min(search.last, info.basePages - 1);
  const shared = firstKnownPages(state, info.base, { ...search, last });
  return joinedPages(own, shared, search.pagesMax);
}

/** The lowest numbers of both, in order. */
export function joinedPages(
  some: readonly number[],
  others: readonly number[],
  pagesMax: number,
): number[] {
  const all = new Set([...some, ...others]);
  return [...all].toSorted((a, b) => a - b).slice(0, pagesMax);
}
