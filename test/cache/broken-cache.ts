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
}

const COMPILED = fileURLToPath(new URL("../../src", import.meta.url));

export const BROKEN_RULES: readonly BrokenRule[] = [
  {
    rule: "the key is checked again after the pin",
    file: "shared-page-cache.js",
    text: "words[slot + at.KEY_LOW] !== low || words[slot + at.KEY_HIGH] !== high",
    instead: "false",
  },
  {
    rule: "a slot that is held is not claimed",
    file: "shared-slots.js",
    text: "if (!this.#parts.pins.isHeld(entry))",
    instead: "if (true)",
  },
  {
    rule: "a dirty slot is not reused before its flush",
    file: "shared-state.js",
    text: "HELD = OWNED | DIRTY | FLUSHING",
    instead: "HELD = OWNED | FLUSHING",
  },
  {
    rule: "a slot is not reused while its flush is under way",
    file: "shared-state.js",
    text: "HELD = OWNED | DIRTY | FLUSHING",
    instead: "HELD = OWNED | DIRTY",
  },
  {
    rule: "a version is not flushed before the flush of an older one ended",
    file: "shared-flushes.js",
    text: "!index.hasRetired(entry)",
    instead: "true",
  },
  {
    rule: "a slot is taken by compare-and-swap",
    file: "shared-slots.js",
    text: "Atomics.compareExchange(words, stateAt, state, this.#owned) !== state",
    instead: "(Atomics.store(words, stateAt, this.#owned), false)",
  },
  {
    rule: "a version is published only if the one it came from is the newest still",
    file: "shared-page-cache.js",
    text: "(olderState & QUEUE_MASK) === LIMBO",
    instead: "false",
  },
];

/** Address of the module, in a new folder below the system's for temporary files. */
export function breakCache({ file, text, instead }: BrokenRule): { url: string; folder: string } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-broken-cache-"));
  fs.writeFileSync(path.join(folder, "package.json"), '{"type": "module"}');
  for (const floor of ["base", "cache"]) {
    fs.cpSync(path.join(COMPILED, floor), path.join(folder, floor), { recursive: true });
  }
  const target = path.join(folder, "cache", file);
  const whole = fs.readFileSync(target, "utf8");
  const parts = whole.split(text);
  if (parts.length !== 2) throw new Error(`${file} has "${text}" ${parts.length - 1} times`);
  fs.writeFileSync(target, parts.join(instead));
  return { url: pathToFileURL(path.join(folder, "cache/index.js")).href, folder };
}
