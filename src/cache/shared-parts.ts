/** What one worker needs to work on a shared cache, put together once. */
import { GhostSets } from "./ghost-sets.ts";
import { SharedIndex } from "./shared-index.ts";
import { bytesOf, readLayout, wordsOf } from "./shared-layout.ts";
import type { SharedCacheMemory, SharedLayout } from "./shared-layout.ts";
import { SharedPins } from "./shared-pins.ts";
import { ownerOf } from "./shared-state.ts";

export interface SharedParts {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly layout: SharedLayout;
  readonly pins: SharedPins;
  readonly index: SharedIndex;
  readonly ghosts: GhostSets;
}

/** Takes a place among the workers. Fails as `readLayout` does, and for want of a place. */
export function joinParts(memory: SharedCacheMemory): SharedParts {
  const layout = readLayout(memory);
  const bytes = bytesOf(memory);
  const words = wordsOf(bytes);
  const pins = new SharedPins(words, layout);
  const index = new SharedIndex(words, layout, ownerOf(pins.place));
  return {
    bytes,
    words,
    layout,
    pins,
    index,
    ghosts: new GhostSets(words, layout.ghostsAt, layout.ghostSets),
  };
}
