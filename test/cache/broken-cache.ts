/**
 * The compiled cache with one rule taken out, to show that the torture finds what the rule is for.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export interface BrokenRule {
  readonly rule: string;
  /**
   * Compiled file in the cache's folder, a text that occurs in it once, and what takes its place.
   */
  readonly file: string;
  readonly text: string;
  readonly instead: string;
  /** In plans of which it shows. */
  readonly acts: readonly string[];
  /** Where to begin, if the first plan that shows it comes late. */
  readonly firstSeed?: number;
}

const COMPILED = fileURLToPath(new URL("../../src", import.meta.url));

export const BROKEN_RULES: readonly BrokenRule[] = [
  {
    rule: "the key is checked again after the pin",
    file: "shared-page-cache.js",
    text: "words[slot + at.KEY_LOW] !== low || words[slot + at.KEY_HIGH] !== high",
    instead: "false",
    acts: ["look at a page that leaves", "insert a clean page"],
    firstSeed: 3800,
  },
  {
    rule: "a slot that is held is not claimed",
    file: "shared-slots.js",
    text: "!this.#parts.pins.isHeld(entry)",
    instead: "true",
    acts: ["look at a page that leaves", "insert a clean page"],
  },
  {
    rule: "a claim counts only if the slot was not taken from its key before the look at the pins",
    file: "shared-slots.js",
    text: "isFree && Atomics.load(this.#words, stateAt) === claimed",
    instead: "isFree",
    acts: ["publish a version that was begun", "insert a clean page"],
  },
  {
    rule: "a claim is taken back only if the slot was not taken from its key meanwhile",
    file: "shared-slots.js",
    text: "Atomics.compareExchange(this.#words, this.#stateAt(entry), state | this.#owned, state)",
    instead: "Atomics.store(this.#words, this.#stateAt(entry), state)",
    acts: ["publish a version that was begun", "insert a clean page"],
  },
  {
    rule: "a dirty slot is not reused before its flush",
    file: "shared-state.js",
    text: "HELD = OWNED | DIRTY | FLUSHING",
    instead: "HELD = OWNED | FLUSHING",
    acts: ["update and flush", "insert a clean page"],
  },
  {
    rule: "a slot is not reused while its flush is under way",
    file: "shared-state.js",
    text: "HELD = OWNED | DIRTY | FLUSHING",
    instead: "HELD = OWNED | DIRTY",
    acts: ["flush well", "insert a clean page"],
  },
  {
    rule: "a version is not flushed before the flush of an older one ended",
    file: "shared-flushes.js",
    text: "!index.hasRetired(entry)",
    instead: "true",
    acts: ["flush well", "update and flush"],
  },
  {
    rule: "a flush that failed leaves the slot dirty",
    file: "shared-flushes.js",
    text: "succeeded ? clean : clean | DIRTY",
    instead: "clean",
    acts: ["flush in vain", "insert a clean page"],
  },
  {
    rule: "a slot is taken by compare-and-swap",
    file: "shared-slots.js",
    text: "Atomics.compareExchange(this.#words, stateAt, state, claimed) !== state",
    instead: "(Atomics.store(this.#words, stateAt, claimed), false)",
    acts: ["insert a clean page", "insert a dirty page"],
  },
  {
    rule: "a version is published only if the one it came from is the newest still",
    file: "shared-page-cache.js",
    text: "(olderState & QUEUE_MASK) === LIMBO",
    instead: "false",
    acts: ["update and flush"],
  },
  {
    rule: "a dead worker's slot is taken over under the lock of its bucket, or left as it is",
    file: "shared-reaper.js",
    text: "index.lock(bucket);",
    instead:
      "Atomics.compareExchange(this.#words, this.#stateAt(entry), state, " +
      "LIMBO | OWNED | ownerBits(pins.place)); index.lock(bucket);",
    acts: ["insert a dirty page", "update a dirty page"],
  },
  {
    rule: "a version that was not committed replaces nothing, whichever dead worker's it is",
    file: "shared-reaper.js",
    text: " && (state & SHADOW) === 0",
    instead: "",
    acts: ["update a dirty page", "update and flush"],
  },
  {
    rule: "what a dead worker committed replaces the older version",
    file: "shared-reaper.js",
    text: "this.#settleVersions(bucket)",
    instead: "undefined",
    acts: ["update a dirty page"],
  },
  {
    rule: "what a dead worker was flushing is dirty again",
    file: "shared-reaper.js",
    text: " | DIRTY;",
    instead: ";",
    acts: ["flush well", "flush in vain"],
  },
  {
    rule: "the reaper of a reaper goes on with what that had begun",
    file: "shared-reaper.js",
    text: "pins.beingReapedBy(place)",
    instead: "[]",
    acts: ["reap another"],
  },
  {
    rule: "a reaper that gives up lets others in",
    file: "shared-reaper.js",
    text: "pins.endReaping(place, before);",
    instead: "",
    acts: ["insert a clean page", "update a dirty page"],
  },
  {
    rule: "a version takes the older one's place without waiting for a claim on that",
    file: "shared-retirement.js",
    text: "if (this.#retireFrom(bucket, entry, state))\n                return;",
    instead:
      "if ((state & OWNED) === 0 && this.#retireFrom(bucket, entry, state)) return;" +
      " Atomics.wait(this.#words, 0, 0, 1);",
    acts: ["publish a version that was begun", "insert a clean page"],
  },
];

/** Address of the module, in a new folder below the system's for temporary files. */
export function breakCache({ file, text, instead }: BrokenRule): { url: string; folder: string } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-broken-cache-"));
  fs.writeFileSync(path.join(folder, "package.json"), '{"type": "module"}');
  for (const floor of ["base", "cache"]) {
    fs.cpSync(path.join(COMPILED, floor), path.join(folder, floor), {
      recursive: true,
      filter: (file) => !/\.test\.|\.ts$|\.map$/.test(file),
    });
  }
  const target = path.join(folder, "cache", file);
  const whole = fs.readFileSync(target, "utf8");
  const parts = whole.split(text);
  if (parts.length !== 2) throw new Error(`${file} has "${text}" ${parts.length - 1} times`);
  fs.writeFileSync(target, parts.join(instead));
  return { url: pathToFileURL(path.join(folder, "cache/index.js")).href, folder };
}
