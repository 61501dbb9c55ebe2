/**
 * Where the repository is and what is in it, for the other scripts. Scripts run compiled, from
 * dist/scripts.
 */
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY: string = fileURLToPath(new URL("../..", import.meta.url));

const SKIPPED_FOLDERS: ReadonlySet<string> = new Set(["node_modules", "dist", ".git", ".cache"]);

/** Paths of the files below `folder` for which `wanted` holds, relative to `root`, sorted. */
export function filesBelow(
  root: string,
  folder: string,
  wanted: (path: string) => boolean,
): string[] {
  const found: string[] = [];
  const visit = (current: string): void => {
    for (const entry of readdirSync(current, { withFileTypes: true })) {
      const path = join(current, entry.name);
      if (entry.isDirectory()) {
        if (!SKIPPED_FOLDERS.has(entry.name)) visit(path);
      } else if (wanted(entry.name)) found.push(relative(root, path));
    }
  };
  const start = join(root, folder);
  if (existsSync(start)) visit(start);
  return found.sort();
}
