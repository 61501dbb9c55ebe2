/** Which file is the program: shared by `bin/drystone` and by what makes the bundle. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const COMPILED = `${DIST}src/cli/main.js`;
export const BUNDLE = `${DIST}run/main.js`;

/** False if there is none, or if something was compiled after it was made. */
export function isBundleCurrent() {
  if (!existsSync(BUNDLE)) return false;
  const made = statSync(BUNDLE).mtimeMs;
  return readdirSync(DIST)
    .filter((name) => name.endsWith(".tsbuildinfo"))
    .every((name) => statSync(DIST + name).mtimeMs <= made);
}

/**
 * The bundle loads in half the time; what was just compiled without it is run as compiled, so that
 * nobody tries a program that is older than its source.
 */
export function programEntry() {
  return isBundleCurrent() ? BUNDLE : COMPILED;
}
