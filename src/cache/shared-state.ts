/**
 * The state of a slot of a shared cache, in one word, changed by compare-and-swap alone: the status
 * bits of `slot-status.ts`, what keeps the slot from being reused besides pins, and who.
 *
 *   free -> owned (being filled) -> cold or hot -> owned (being evicted) -> free or owned (filled)
 *                                       |-> limbo (older version, or removed) -> owned or free
 *
 * Only its owner changes the state of an owned slot. A hot slot goes from used to armed as the hand
 * meets it, and from armed to owned, which is the end of its contents, if it is still armed when
 * the hand meets it again and no worker holds it then.
 */
export const STATUS_MASK = 0x7f;
/** One worker's alone: to fill, or to take it from its key. */
export const OWNED = 0x80;
/** Newer than what is stored. */
export const DIRTY = 0x100;
export const FLUSHING = 0x200;
/** Owned, and to take the place of the entry that its NEXT names. */
export const SHADOW = 0x400;
export const HELD: number = OWNED | DIRTY | FLUSHING;
export const OWNER_MASK = 0xff0000;
const OWNER_SHIFT = 16;

/** As it stands in states and locks: never 0. */
export function ownerOf(place: number): number {
  return place + 1;
}

export function ownerBits(place: number): number {
  return ownerOf(place) << OWNER_SHIFT;
}
