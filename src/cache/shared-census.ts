/**
 * Counts the slots of a shared cache by what they are, and finds what must not be: for statistics
 * and tests. Other workers may go on; then the counts are of no one instant, and only without them
 * is every `problem` one.
 */
import { mixOf } from "./key-hash.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import { DIRTY, FLUSHING, OWNED } from "./shared-state.ts";
import { COLD, FREE, HOT, LIMBO, QUEUE_MASK } from "./slot-status.ts";

export interface SharedCensus {
  readonly cold: number;
  readonly hot: number;
  readonly free: number;
  /** Being filled or evicted. */
  readonly owned: number;
  /** Without a key, kept by a pin or a flush. */
  readonly limbo: number;
  readonly dirty: number;
  readonly flushing: number;
  /** Bytes of pages that have a key. */
  readonly usedBytes: number;
  /** Bytes of memory that are not pages. */
  readonly overheadBytes: number;
}

export function takeCensus({ words, layout }: SharedParts): SharedCensus {
  const counts = { cold: 0, hot: 0, free: 0, owned: 0, limbo: 0, dirty: 0, flushing: 0 };
  for (let entry = 1; entry <= layout.capacity; entry++) {
    const state = Atomics.load(words, layout.slotsAt + entry * at.SLOT_WORDS + at.STATE);
    const queue = state & QUEUE_MASK;
    if ((state & OWNED) !== 0) counts.owned++;
    else if (state === FREE) counts.free++;
    else if (queue === COLD) counts.cold++;
    else if (queue === HOT) counts.hot++;
    else if (queue === LIMBO) counts.limbo++;
    if ((state & DIRTY) !== 0) counts.dirty++;
    if ((state & FLUSHING) !== 0) counts.flushing++;
  }
  const usedBytes = (counts.cold + counts.hot) * layout.pageBytes;
  return { ...counts, usedBytes, overheadBytes: layout.overheadBytes };
}

/** Every breach of the invariants, in words. Nobody else may be at work. */
export function findProblems({ words, layout, index, ghosts, pins }: SharedParts): string[] {
  const problems: string[] = [];
  const linkedIn = new Int32Array(layout.capacity + 1);
  for (let i = 0; i < layout.bucketCount; i++) {
    const bucket = layout.bucketsAt + i;
    if ((words[layout.locksAt + i]! & 0xff) !== 0) problems.push(`bucket ${i} is locked`);
    let entry = words[bucket]!;
    while (entry !== 0) {
      if (linkedIn[entry] !== 0) {
        problems.push(`slot ${entry - 1} is in two chains, or a chain is a circle`);
        break;
      }
      linkedIn[entry] = bucket;
      entry = words[layout.slotsAt + entry * at.SLOT_WORDS + at.NEXT]!;
    }
  }
  const keys = new Set<string>();
  for (let entry = 1; entry <= layout.capacity; entry++) {
    const slot = layout.slotsAt + entry * at.SLOT_WORDS;
    const state = words[slot + at.STATE]!;
    const low = words[slot + at.KEY_LOW]!;
    const high = words[slot + at.KEY_HIGH]!;
    const queue = state & QUEUE_MASK;
    const isResident = queue === COLD || queue === HOT;
    if ((state & OWNED) !== 0) problems.push(`slot ${entry - 1} is owned by nobody that lives`);
    if ((state & DIRTY) !== 0 && !isResident) problems.push(`slot ${entry - 1}: dirty, no key`);
    if (pins.isHeld(entry)) problems.push(`slot ${entry - 1} is held`);
    if (!isResident) {
      if (linkedIn[entry] !== 0) problems.push(`slot ${entry - 1} has no key and is in a chain`);
      continue;
    }
    const bucket = index.bucketOf(low, high);
    if (linkedIn[entry] !== bucket) problems.push(`slot ${entry - 1} is not in its chain`);
    if (keys.has(`${low} ${high}`)) problems.push(`key ${low} ${high} has two slots`);
    keys.add(`${low} ${high}`);
    if (ghosts.find(mixOf(low, high)) !== 0) problems.push(`key ${low} ${high} is a ghost as well`);
  }
  return problems;
}
