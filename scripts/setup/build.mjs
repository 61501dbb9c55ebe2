/**
 * Compiles what changed. The compiler knows best what is out of date, and needs a fraction of a
 * second for it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ensureBundle } from "./bundle.mjs";
import { ensureDashboard } from "./dashboard.mjs";
import { REPOSITORY, runLogged, say, SetupError, showTail } from "./steps.mjs";

export async function ensureBuilt() {
  if (!existsSync(join(REPOSITORY, "dist/src"))) say("building for the first time (a few seconds)");
  const compiler = join(REPOSITORY, "node_modules/typescript/bin/tsc");
  const { code, tail, log } = await runLogged("build", process.execPath, [compiler, "-b"]);
  if (code === 0) {
    await ensureBundle();
    return ensureDashboard();
  }
  showTail(tail);
  throw new SetupError(
    "the build failed",
    tail.length < 15 ? "mend the errors above" : `mend the errors above; all of them are in ${log}`,
  );
}
