/**
 * Components that were made anew share again what is equal. On the device that they were made on
 * each got a whole logical map, though all but a few pages are those of its volume or of a snapshot
 * beside it. Once it is complete it is compared with the component that has most of them, page by
 * page, and becomes a fork of that one: equal pages go, and pages that it must not share are its
 * own. Each batch leaves what every component holds as it was, so that a crash in between costs
 * nothing but what is left to do, and it is not asked what is related to what: pages are equal only
 * where the same transactions wrote the same contents.
 */
import { assert, errorText, isZero, marks } from "../base/index.ts";
import {
  componentKey,
  getBigEndian,
  keyAfterPrefix,
  PAGE_ENTRIES_BYTES,
  PAGES_PER_GROUP,
  PHYSICAL_DAMAGED,
  PHYSICAL_HOLE,
  PHYSICAL_MAX,
  regionsKey,
} from "../format/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import { encodeComponent } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import { commitComponent } from "./device-records.ts";
import type { DeviceState } from "./device-state.ts";
import { firstKnownPages, firstPages, joinedPages } from "./known-pages.ts";
import { ENTRY_BYTES, pageOf, physicalOf, sequenceOf } from "./logical-map.ts";
import { MapUpdate } from "./map-update.ts";
import type { RegionGroup } from "./region-map.ts";

/** Pages by which it is seen who has the same ones. */
const SAMPLES_MAX = 16;
/** Pages that one batch shares. */
const PAGES_PER_STEP = 64;
/** Pages that are looked at before others get a turn. */
const PAGES_AT_ONCE = 2;
/** Groups of digests that one batch shares. */
const GROUPS_PER_STEP = 256;

export interface PageSharingHost {
  readonly state: DeviceState;
  /** Runs `work` while nothing is destaged. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when everything decided so far has left the journal. */
  destage(): Promise<void>;
}

interface Step {
  readonly info: ComponentInfo;
  readonly base: ComponentInfo;
  readonly pages: readonly number[];
  /** Pages below it are shared afterwards, or the component's own. */
  readonly end: number;
}

export class PageSharing {
  readonly #host: PageSharingHost;
  /** Who is looked at, and with whom it is compared: all that there are, if undefined. */
  readonly #queue = new Map<ComponentInfo, readonly ComponentInfo[] | undefined>();
  readonly #entries = new Uint8Array(PAGE_ENTRIES_BYTES);
  readonly #others = new Uint8Array(PAGE_ENTRIES_BYTES);
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(host: PageSharingHost) {
    this.#host = host;
  }

  get #state(): DeviceState {
    return this.#host.state;
  }

  /** What a crash, or the end of the host, has cut short. */
  start(): void {
    for (const info of this.#state.components.all())
      if (info.madeAnew) this.#queue.set(info, undefined);
    this.#run();
  }

  /** It lacks nothing any more; others that were made anew may have waited for it. */
  completed(info: ComponentInfo): void {
    if (info.madeAnew) this.#queue.set(info, undefined);
    for (const other of this.#state.components.all()) {
      if (!other.madeAnew || other === info) continue;
      const among = this.#queue.get(other);
      if (among !== undefined || !this.#queue.has(other))
        this.#queue.set(other, [...(among ?? []), info]);
    }
    this.#run();
  }

  /** Resolves when nothing is left to be compared. */
  async whenIdle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  #run(): void {
    if (this.#running !== undefined || this.#queue.size === 0 || this.#isStopped) return;
    this.#running = this.#lookAtAll().finally(() => {
      this.#running = undefined;
      // Somebody may have come since the last look.
      this.#run();
    });
  }

  async #lookAtAll(): Promise<void> {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { info, among } = next;
      try {
        await this.#look(info, among ?? this.#state.components.all());
      } catch (error) {
        // It stays as it is until the next start.
        const what = `a component does not share what is equal: ${errorText(error)}`;
        this.#state.log.write("warning", what, { componentId: info.componentId });
      }
    }
  }

  #next(): { info: ComponentInfo; among: readonly ComponentInfo[] | undefined } | undefined {
    for (const [info, among] of this.#isStopped ? [] : this.#queue) {
      this.#queue.delete(info);
      return { info, among };
    }
    return undefined;
  }

  async #look(info: ComponentInfo, among: readonly ComponentInfo[]): Promise<void> {
    if (!mayShare(info)) return;
    // What came past the maps would look like holes.
    if (this.#state.pending.holds(info.index)) await this.#host.destage();
    const base = this.#state.components.at(info.base) ?? (await this.#nearest(info, among));
    if (base !== undefined) await this.#share(info, base);
    else if (!this.#isAwaited()) await this.#host.exclusive(() => this.#conclude(info));
  }

  /** Whether somebody is on its way here whose pages may be equal. */
  #isAwaited(): boolean {
    return this.#state.components.all().some((one) => !one.deleting && !isComplete(one));
  }

  async #conclude(info: ComponentInfo): Promise<void> {
    if (!mayShare(info)) return;
    info.madeAnew = false;
    try {
      await commitComponent(this.#state.metadata, info);
    } catch (error) {
      info.madeAnew = true;
      throw error;
    }
  }

  // Who has most of its pages.

  /** Of those that have half of its pages at least, as far as a few of them tell. */
  async #nearest(
    info: ComponentInfo,
    among: readonly ComponentInfo[],
  ): Promise<ComponentInfo | undefined> {
    const samples = this.#samplesOf(info);
    let nearest: ComponentInfo | undefined;
    let equalMost = Math.max(1, samples.length / 2);
    for (const other of among) {
      if (this.#isStopped) return undefined;
      if (other === info || !isBase(other) || this.#isHeir(other, info)) continue;
      const equal = await this.#equalSamples(samples, other);
      if (equal < equalMost) continue;
      const isNearer = nearest === undefined || equal > equalMost || isCloser(info, other, nearest);
      if (isNearer) nearest = other;
      equalMost = equal;
    }
    return nearest;
  }

  /** Pages with data from all over it. */
  #samplesOf({ index, blockCount }: ComponentInfo): { page: number; entries: Uint8Array }[] {
    const end = pagesOf(blockCount);
    const samples = new Map<number, Uint8Array>();
    for (let i = 0; i < SAMPLES_MAX; i++) {
      const first = Math.floor((end * i) / SAMPLES_MAX);
      const [page] = firstPages(this.#state, index, { first, last: end - 1, pagesMax: 1 });
      if (page === undefined || samples.has(page)) continue;
      const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
      this.#state.logical.copyPage(index, page, entries, 0);
      if (someEntry(entries, (at) => physicalOf(entries, at) < PHYSICAL_MAX))
        samples.set(page, entries);
    }
    return Array.from(samples, ([page, entries]) => ({ page, entries }));
  }

  async #equalSamples(
    samples: readonly { page: number; entries: Uint8Array }[],
    other: ComponentInfo,
  ): Promise<number> {
    let equal = 0;
    for (const [i, { page, entries }] of samples.entries()) {
      // Most have nothing in common with it.
      if (equal === 0 && i > samples.length / 2) break;
      if (i % PAGES_AT_ONCE === 0) await this.#pause();
      if (page >= pagesOf(other.blockCount)) continue;
      this.#state.logical.copyPage(other.index, page, this.#others, 0);
      if (areEqual(entries, this.#others)) equal++;
    }
    return equal;
  }

  /** Whether it shares pages of the other one, directly or not. */
  #isHeir(info: ComponentInfo, of: ComponentInfo): boolean {
    for (let at: ComponentInfo | undefined = info; at; at = this.#state.components.at(at.base))
      if (at === of) return true;
    return false;
  }

  // Sharing them.

  async #share(info: ComponentInfo, chosen: ComponentInfo): Promise<void> {
    for (let step: Step | undefined; !isLast(step);) {
      step = await this.#host.exclusive(async () => {
        const next = this.#isStopped ? undefined : this.#stepOf(info, chosen);
        if (next !== undefined) await this.#shareStep(next);
        return next;
      });
      if (step === undefined) return;
    }
    marks.hit("a component that was made anew shares pages again");
    for (let first = 0; first >= 0;) {
      first = await this.#host.exclusive(() => this.#shareGroups(info, first));
      if (this.#isStopped || !mayShare(info)) return;
    }
    await this.#host.exclusive(() => this.#conclude(info));
  }

  /** The next pages that either of them has; undefined if they cannot be compared any more. */
  #stepOf(info: ComponentInfo, chosen: ComponentInfo): Step | undefined {
    const { components } = this.#state;
    if (!mayShare(info)) return undefined;
    if (info.base === 0 && (!isBase(chosen) || this.#isHeir(chosen, info))) {
      this.#queue.set(info, undefined);
      return undefined;
    }
    // A snapshot of the base that was made meanwhile has taken its place.
    const base = info.base === 0 ? chosen : components.at(info.base);
    assert(base !== undefined, "a component that is shared with exists");
    const first = info.basePages;
    const end = Math.min(pagesOf(info.blockCount), pagesOf(base.blockCount));
    if (first >= end) return { info, base, pages: [], end: first };
    const search = { first, last: end - 1, pagesMax: PAGES_PER_STEP };
    const own = firstPages(this.#state, info.index, search);
    const others = firstKnownPages(this.#state, base.index, search);
    const pages = joinedPages(own, others, PAGES_PER_STEP);
    const last = pages.length < PAGES_PER_STEP ? undefined : pages.at(-1);
    return { info, base, pages, end: last === undefined ? end : last + 1 };
  }

  async #shareStep({ info, base, pages, end }: Step): Promise<void> {
    const { logical, regions, rules } = this.#state;
    const equal: number[] = [];
    const lacking: number[] = [];
    for (const [i, page] of pages.entries()) {
      if (i % PAGES_AT_ONCE === 0) await this.#pause();
      logical.copyPage(base.index, page, this.#others, 0);
      if (!regions.hasPage(info.index, page)) {
        if (rules.keepsHoles && !isBlank(this.#others)) lacking.push(page);
        continue;
      }
      logical.copyPage(info.index, page, this.#entries, 0);
      const isEqual = !rules.sharesEqualOnly || areEqual(this.#entries, this.#others);
      if (isEqual) equal.push(page);
    }
    // Before anything is shared: what it has no page of must not become the base's.
    if (lacking.length > 0) {
      const update = new MapUpdate(this.#state);
      for (const page of lacking) update.ownPage(info, page);
      await update.commit(() => {});
    }
    const before = { base: info.base, basePages: info.basePages };
    const update = new MapUpdate(this.#state);
    try {
      for (const [i, page] of equal.entries()) {
        if (i % PAGES_AT_ONCE === 0) await this.#pause();
        update.sharePage(info, page);
      }
      this.#state.components.inherit(info, { base: base.index, basePages: end });
      await update.commitShared((batch) => {
        batch.put(componentKey(info.index), encodeComponent(info));
      });
    } catch (error) {
      this.#state.components.inherit(info, before);
      update.abandon();
      throw error;
    }
  }

  /** Digests are shared where no page is its own. Returns where to go on, -1 at the end. */
  async #shareGroups(info: ComponentInfo, first: number): Promise<number> {
    if (!mayShare(info) || info.base === 0) return -1;
    const { metadata, regions } = this.#state;
    const groups: number[] = [];
    const from = regionsKey(info.index, first);
    metadata.scan(from, keyAfterPrefix(from.subarray(0, 5)), (key) => {
      groups.push(getBigEndian(key, 5, 4));
      return groups.length < GROUPS_PER_STEP;
    });
    const shared = groups.filter((group) => {
      if (group * PAGES_PER_GROUP >= info.basePages) return false;
      return mayInherit(regions.group(info.index, group), regions.group(info.base, group));
    });
    const batch = new MetadataBatch();
    for (const group of shared) batch.delete(regionsKey(info.index, group));
    try {
      if (shared.length > 0) await metadata.commit(batch);
    } finally {
      for (const group of shared) regions.forgetGroup(info.index, group);
    }
    const last = groups.at(-1);
    return last === undefined || groups.length < GROUPS_PER_STEP ? -1 : last + 1;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#state.clock.after(0, resolve));
  }
}

const pagesOf = (blockCount: number): number => (blockCount === 0 ? 0 : pageOf(blockCount - 1) + 1);

const isLast = (step: Step | undefined): boolean =>
  step !== undefined && step.pages.length < PAGES_PER_STEP;

const isComplete = (info: ComponentInfo): boolean => info.catchUpFrom === undefined;

function mayShare(info: ComponentInfo): boolean {
  return info.madeAnew && !info.deleting && isComplete(info);
}

function isBase(info: ComponentInfo): boolean {
  return !info.deleting && isComplete(info) && info.blockCount > 0;
}

/** Of two with as many equal pages: the next newer one, as snapshots of a volume share; or else. */
function isCloser({ committedSequence }: ComponentInfo, one: ComponentInfo, other: ComponentInfo) {
  const ahead = one.committedSequence - committedSequence;
  const otherAhead = other.committedSequence - committedSequence;
  if (ahead >= 0 !== otherAhead >= 0) return ahead >= 0;
  return Math.abs(ahead) < Math.abs(otherAhead);
}

function someEntry(entries: Uint8Array, is: (at: number) => boolean): boolean {
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) if (is(at)) return true;
  return false;
}

/** Holes that nobody has written: what a page that is not there reads as. */
function isBlank(entries: Uint8Array): boolean {
  return !someEntry(
    entries,
    (at) => physicalOf(entries, at) !== PHYSICAL_HOLE || sequenceOf(entries, at) !== 0,
  );
}

/** Damage of one is not the other's. */
function areEqual(some: Uint8Array, others: Uint8Array): boolean {
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false;
  return !someEntry(some, (at) => physicalOf(some, at) === PHYSICAL_DAMAGED);
}

function mayInherit(own: RegionGroup, base: RegionGroup): boolean {
  if (own.damaged || base.damaged || !isZero(own.pagesPresent, 0, own.pagesPresent.length))
    return false;
  return own.digests.every((word, i) => word === base.digests[i]);
}
