/** What is pending, told anew from the frames of the journal: what never happened is left out. */
import { RECORD_DATA, RECORD_ZERO } from "../format/index.ts";
import { blockKey } from "./block-table.ts";
import type { DeviceState } from "./device-state.ts";
import { walkJournal } from "./journal-walk.ts";
import { LOCATION_DAMAGED, LOCATION_HOLE, LOCATION_ZERO } from "./pending-blocks.ts";
import { RANGE_BLOCKS_MIN } from "./pending-blocks.ts";

/** Of one component: a version that was dropped may hide an older one. */
export function rebuildPending(state: DeviceState, component: number): void {
  const damaged = damagedBlocks(state);
  state.pending.forget(component);
  replay(state, damaged, (one) => one === component);
}

/**
 * The journal could not be written: what it could not take was refused, and did not happen. Nobody
 * may see it, since it is gone when the device is opened again.
 */
export function forgetUnwritten(state: DeviceState): void {
  const damaged = damagedBlocks(state);
  state.pending.forgetAll();
  const isThere = (component: number): boolean =>
    state.components.at(component)?.deleting === false;
  replay(state, damaged, isThere, state.journal.durableFrame);
}

/** By key: the sequence of the version that cannot be read. */
function damagedBlocks({ pending: { table } }: DeviceState): ReadonlyMap<number, number> {
  const damaged = new Map<number, number>();
  for (const [slot, key] of table.keys.entries())
    if (key >= 0 && table.values[slot] === LOCATION_DAMAGED)
      damaged.set(key, table.sequences[slot]!);
  return damaged;
}

function replay(
  { journal, pending, voids }: DeviceState,
  damaged: ReadonlyMap<number, number>,
  isWanted: (component: number) => boolean,
  lastFrame = Infinity,
): void {
  walkJournal(journal, (record, first, frame) => {
    const { component, kind, blockIndex, blockCount, sequence } = record;
    if (frame > lastFrame || !isWanted(component) || voids.has(record, frame)) return;
    const end = blockIndex + blockCount;
    const marker = kind === RECORD_ZERO ? LOCATION_ZERO : LOCATION_HOLE;
    if (kind !== RECORD_DATA && blockCount >= RANGE_BLOCKS_MIN) {
      pending.putRange({ component, start: blockIndex, end, sequence, location: marker });
      return;
    }
    for (let i = 0; i < blockCount; i++) {
      const isDamaged = damaged.get(blockKey(component, blockIndex + i)) === sequence;
      const location = isDamaged ? LOCATION_DAMAGED : first + i;
      pending.put(component, blockIndex + i, sequence, kind === RECORD_DATA ? location : marker);
    }
  });
}
