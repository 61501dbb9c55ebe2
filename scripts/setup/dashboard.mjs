/**
 * The dashboard: bundled from `web` and what it uses of `src` into `dist/web`, from where every
 * host serves it. Only when a source, the bundler or this file has changed, which a digest of all
 * of them tells.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { REPOSITORY, say, SetupError } from "./steps.mjs";

/** The pages, and the code of the product that runs in them. */
const FOLDERS = ["web", "src"];
const SOURCE = join(REPOSITORY, "web");
const TARGET = join(REPOSITORY, "dist/web");
const STAMP = join(REPOSITORY, "dist/web.digest");

function digestOfSources() {
  const digest = createHash("sha256");
  const add = (name, path) => digest.update(`${name}\0`).update(readFileSync(path)).update("\0");
  for (const folder of FOLDERS) {
    const entries = readdirSync(join(REPOSITORY, folder), { recursive: true, withFileTypes: true });
    const paths = entries
      .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    for (const path of paths) add(path.slice(REPOSITORY.length), path);
  }
  add("lock", join(REPOSITORY, "package-lock.json"));
  add("script", fileURLToPath(import.meta.url));
  return digest.digest("hex");
}

export async function ensureDashboard() {
  const digest = digestOfSources();
  const isCurrent =
    existsSync(join(TARGET, "index.html")) &&
    existsSync(STAMP) &&
    readFileSync(STAMP, "utf8") === digest;
  if (isCurrent) return;
  say("building the dashboard (a few seconds)");
  const { build } = await import("vite");
  try {
    await build({
      configFile: false,
      root: SOURCE,
      logLevel: "warn",
      build: {
        outDir: TARGET,
        emptyOutDir: true,
        target: "es2022",
        // An inlined file would need `data:` in the content security policy.
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        reportCompressedSize: false,
        // On a busy machine it takes longer than the bundler finds usual.
        rolldownOptions: { checks: { bundlerTimings: false } },
      },
    });
  } catch (error) {
    throw new SetupError(`the dashboard was not built: ${error.message}`, "mend the error in web");
  }
  writeFileSync(STAMP, digest);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await ensureDashboard();
