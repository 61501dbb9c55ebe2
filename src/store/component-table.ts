/**
 * The components of a device, as its metadata describes them. Counters change with each publish.
 */
import { assert, fromHex, getU64, setU64, toHex } from "../base/index.ts";
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
}

const STATE_LIVE = 1;
const STATE_DELETING = 2;

export function encodeComponent(
  info: ComponentInfo,
  mappedBlocks: number = info.mappedBlocks,
): Uint8Array {
  const at = ComponentValueLayout.at;
  const value = new Uint8Array(ComponentValueLayout.sizeBytes);
  value[at.state] = info.deleting ? STATE_DELETING : STATE_LIVE;
  value.set(fromHex(info.componentId), at.componentId);
  value.set(fromHex(info.objectId), at.objectId);
  setU64(value, at.blockCount, info.blockCount);
  setU64(value, at.epoch, info.epoch);
  setU64(value, at.committedSequence, info.committedSequence);
  setU64(value, at.mappedBlocks, mappedBlocks);
  sealValue(componentKey(info.index), value);
  return value;
}

/** Undefined if the value cannot be believed. */
export function decodeComponent(index: number, value: Uint8Array): ComponentInfo | undefined {
  const at = ComponentValueLayout.at;
  if (value.length !== ComponentValueLayout.sizeBytes) return undefined;
  if (!valueIsIntact(componentKey(index), value)) return undefined;
  const state = value[at.state];
  if (state !== STATE_LIVE && state !== STATE_DELETING) return undefined;
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
  };
}

export class ComponentTable {
  readonly #byIndex = new Map<number, ComponentInfo>();
  readonly #byId = new Map<string, ComponentInfo>();

  add(info: ComponentInfo): void {
    assert(!this.#byIndex.has(info.index), "component number is in use");
    this.#byIndex.set(info.index, info);
    this.#byId.set(info.componentId, info);
  }

  remove(info: ComponentInfo): void {
    this.#byIndex.delete(info.index);
    this.#byId.delete(info.componentId);
  }

  at(index: number): ComponentInfo | undefined {
    return this.#byIndex.get(index);
  }

  byId(componentId: string): ComponentInfo | undefined {
    return this.#byId.get(componentId);
  }

  all(): ComponentInfo[] {
    return [...this.#byIndex.values()];
  }
}
