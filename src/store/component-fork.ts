/**
 * Forks: a component that begins as another one is at this moment. It costs one metadata batch: the
 * new component has no pages and shares those of the other, its base. Whoever changes a page that
 * others share gives it to them first, in the batch of the change (`MapUpdate`).
 */
import { assert, CodedError } from "../base/index.ts";
import { checkpointKey, componentKey } from "../format/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import { encodeComponent, newComponentInfo } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import { encodeCheckpoint } from "./device-records.ts";
import type { Checkpoint } from "./device-records.ts";
import type { DeviceState } from "./device-state.ts";
import { pageOf } from "./logical-map.ts";

export interface ComponentFork {
  readonly componentId: string;
  readonly objectId: string;
  readonly sourceId: string;
  /** Of the source's owner. */
  readonly epoch: number;
  /** Everything up to here is decided, and nothing above is under way. */
  readonly sequence: number;
  /** The new component will never be written to: who shares with the source may share with it. */
  readonly isFrozen: boolean;
}

/** Called when everything decided was destaged, and nothing can be at the moment. */
export function requireForkable(state: DeviceState, source: ComponentInfo, sequence: number): void {
  const isBehind = source.catchUpFrom !== undefined || source.committedSequence < sequence;
  if (!isBehind && !state.pending.holds(source.index)) return;
  throw new CodedError({
    code: "not-settled",
    message: isBehind
      ? `component ${source.componentId} lacks what it should hold`
      : `component ${source.componentId} holds writes that are not destaged`,
    hint: "try again",
  });
}

export function forkedInfo(
  source: ComponentInfo,
  identity: Pick<ComponentInfo, "index" | "componentId" | "objectId">,
): ComponentInfo {
  const { blockCount, committedSequence, mappedBlocks } = source;
  return {
    ...newComponentInfo({ ...identity, blockCount }),
    committedSequence,
    preparedSequence: committedSequence,
    journalledCommit: committedSequence,
    mappedBlocks,
    base: source.index,
    basePages: blockCount === 0 ? 0 : pageOf(blockCount - 1) + 1,
  };
}

export async function commitFork(
  state: DeviceState,
  checkpoint: Checkpoint,
  fork: {
    readonly info: ComponentInfo;
    readonly source: ComponentInfo;
    readonly isFrozen: boolean;
  },
): Promise<void> {
  const { components, metadata } = state;
  const { info, source, isFrozen } = fork;
  assert(info.base === source.index, "a fork shares with its source");
  // Older forks of the same source come to share with the newest: a change gives a page away once.
  const heirs = isFrozen ? [...components.heirs(source.index)] : [];
  const batch = new MetadataBatch();
  batch.put(checkpointKey(), encodeCheckpoint(checkpoint));
  batch.put(componentKey(info.index), encodeComponent(info));
  for (const heir of heirs) {
    const changed = { ...heir, base: info.index };
    batch.put(componentKey(heir.index), encodeComponent(changed));
  }
  await metadata.commit(batch);
  components.add(info);
  for (const { index, basePages } of heirs) {
    const heir = components.at(index);
    assert(heir !== undefined, "a component that shares exists");
    components.inherit(heir, { base: info.index, basePages });
  }
}
