/**
 * Removes compiled files whose source is gone: the compiler leaves them behind, and a deleted test
 * would go on passing for ever.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { filesBelow } from "./repository.ts";

const COMPILED_FOLDERS = ["src", "scripts", "test", "bench"] as const;
const COMPILED_SUFFIX = /\.(?:js|js\.map|d\.ts)$/;

/** Returns the paths that were removed, relative to `root`. */
export function cleanDist(root: string): string[] {
  const removed: string[] = [];
  const dist = join(root, "dist");
  for (const folder of COMPILED_FOLDERS) {
    for (const path of filesBelow(dist, folder, (name) => COMPILED_SUFFIX.test(name))) {
      if (existsSync(join(root, path.replace(COMPILED_SUFFIX, ".ts")))) continue;
      rmSync(join(dist, path));
      removed.push(join("dist", path));
    }
  }
  return removed;
}
