/**
 * The components of a device, as its metadata describes them. Counters change with each publish.
 */
import {
  assert,
  CodedError,
  fromHex,
  getU16,
  getU32,
  getU64,
  marks,
  setU16,
  setU32,
  setU64,
  toHex,
} from "../base/index.ts";
import { componentKey, ComponentValueLayout, sealValue, valueIsIntact } from "../format/index.ts";

export interface ComponentInfo {
  readonly index: number;
  /** Identities as 32 hexadecimal digits. */
  readonly componentId: string;
  readonly objectId: string;
  blockCount: number;
  /** Highest epoch that opened it. */
  epoch: number;
  /** Everything up to here is decided. */
  committedSequence: number;
  /** Newest sequence in the journal or in the maps. */
  preparedSequence: number;
  mappedBlocks: number;
  deleting: boolean;
  /** Set while it lacks transactions after this sequence. */
  catchUpFrom: number | undefined;
  /** It was made anew, and others may have pages that are equal to its own (`PageSharing`). */
  madeAnew: boolean;
  /** The watermark that its newest record in the journal carries. */
  journalledCommit: number;
  /**
   * The component whose pages are its own too, where it has none: 0 if there is none. Changed
   * through the table.
   */
  readonly base: number;
  /** Pages from here on are never the base's, however far that one grows. */
  readonly basePages: number;
}

/** What a component shares with another. */
export type Inheritance = Pick<ComponentInfo, "base" | "basePages">;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const STATE_LIVE = 1;
const STATE_DELETING = 2;
const STATE_CATCHING_UP = 3;
/** What the sequence up to which it is complete says of one that lacks nothing. */
const MADE_ANEW = 1;
const STATES = [STATE_LIVE, STATE_DELETING, STATE_CATCHING_UP] as const;

export function newComponentInfo(
  identity: Pick<ComponentInfo, "index" | "componentId" | "objectId" | "blockCount">,
): ComponentInfo {
  return {
    ...identity,
    epoch: 0,
    committedSequence: 0,
    preparedSequence: 0,
    mappedBlocks: 0,
    deleting: false,
    catchUpFrom: undefined,
    madeAnew: false,
    journalledCommit: 0,
    base: 0,
    basePages: 0,
  };
}

function stateOf(info: ComponentInfo): number {
  if (info.deleting) return STATE_DELETING;
  return info.catchUpFrom === undefined ? STATE_LIVE : STATE_CATCHING_UP;
}

export function encodeComponent(
  info: ComponentInfo,
  mappedBlocks: number = info.mappedBlocks,
): Uint8Array {
  const at = ComponentValueLayout.at;
  const value = new Uint8Array(ComponentValueLayout.sizeBytes);
  value[at.state] = stateOf(info);
  value[at.baseHigh] = info.base >>> 16;
  setU16(value, at.baseLow, info.base & 0xffff);
  setU32(value, at.basePages, info.basePages);
  value.set(fromHex(info.componentId), at.componentId);
  value.set(fromHex(info.objectId), at.objectId);
  setU64(value, at.blockCount, info.blockCount);
  setU64(value, at.epoch, info.epoch);
  setU64(value, at.committedSequence, info.committedSequence);
  setU64(value, at.mappedBlocks, mappedBlocks);
  setU64(value, at.catchUpFrom, info.catchUpFrom ?? (info.madeAnew ? MADE_ANEW : 0));
  sealValue(componentKey(info.index), value);
  return value;
}

/** Undefined if the value cannot be believed. */
export function decodeComponent(index: number, value: Uint8Array): ComponentInfo | undefined {
  const at = ComponentValueLayout.at;
  if (value.length !== ComponentValueLayout.sizeBytes) return undefined;
  if (!valueIsIntact(componentKey(index), value)) return undefined;
  const state = STATES.find((one) => one === value[at.state]);
  if (state === undefined) return undefined;
  const committedSequence = getU64(value, at.committedSequence);
  return {
    index,
    componentId: toHex(value.subarray(at.componentId, at.componentId + 16)),
    objectId: toHex(value.subarray(at.objectId, at.objectId + 16)),
    blockCount: getU64(value, at.blockCount),
    epoch: getU64(value, at.epoch),
    committedSequence,
    preparedSequence: committedSequence,
    mappedBlocks: getU64(value, at.mappedBlocks),
    deleting: state === STATE_DELETING,
    catchUpFrom: state === STATE_CATCHING_UP ? getU64(value, at.catchUpFrom) : undefined,
    madeAnew: state === STATE_LIVE && getU64(value, at.catchUpFrom) === MADE_ANEW,
    journalledCommit: committedSequence,
    base: value[at.baseHigh]! * 2 ** 16 + getU16(value, at.baseLow),
    basePages: getU32(value, at.basePages),
  };
}

const NO_HEIRS: ReadonlySet<ComponentInfo> = new Set();

export class ComponentTable {
  readonly #byIndex = new Map<number, ComponentInfo>();
  readonly #byId = new Map<string, ComponentInfo>();
  /** By base. */
  readonly #heirs = new Map<number, Set<ComponentInfo>>();

  add(info: ComponentInfo): void {
    this.#heirsOf(info.base).add(info);
    assert(!this.#byIndex.has(info.index), "component number is in use");
    this.#byIndex.set(info.index, info);
    this.#byId.set(info.componentId, info);
  }

  remove(info: ComponentInfo): void {
    this.#heirsOf(info.base).delete(info);
    this.#byIndex.delete(info.index);
    this.#byId.delete(info.componentId);
  }

  at(index: number): ComponentInfo | undefined {
    return this.#byIndex.get(index);
  }

  byId(componentId: string): ComponentInfo | undefined {
    return this.#byId.get(componentId);
  }

  #heirsOf(index: number): Set<ComponentInfo> {
    let heirs = this.#heirs.get(index);
    if (heirs === undefined) {
      heirs = new Set();
      this.#heirs.set(index, heirs);
    }
    return heirs;
  }

  /** Those that share pages with the component directly. */
  heirs(index: number): ReadonlySet<ComponentInfo> {
    return this.#heirs.get(index) ?? NO_HEIRS;
  }

  inherit(info: ComponentInfo, from: Inheritance): void {
    this.#heirsOf(info.base).delete(info);
    const changed: Mutable<ComponentInfo> = info;
    changed.base = from.base;
    changed.basePages = from.base === 0 ? 0 : from.basePages;
    this.#heirsOf(info.base).add(info);
  }

  /** Whose page it is if the component has none of its own; 0 if nobody's. */
  baseOf(index: number, page: number): number {
    const info = this.#byIndex.get(index);
    return info === undefined || page >= info.basePages ? 0 : info.base;
  }

  /** Fails with `component-exists`. */
  requireNew(componentId: string): void {
    if (this.byId(componentId) === undefined) return;
    throw new CodedError({
      code: "component-exists",
      message: `component ${componentId} exists`,
    });
  }

  all(): ComponentInfo[] {
    return [...this.#byIndex.values()];
  }
}

/** Fails with `component-missing`, from the moment on that the component is being deleted. */
export function requireThere({ componentId, deleting }: ComponentInfo): void {
  if (!deleting) return;
  marks.hit("a component that goes was asked");
  throw new CodedError({
    code: "component-missing",
    message: `this host has no component ${componentId}: it is being deleted`,
  });
}
