/**
 * The program in a few files, `dist/run`: of the seconds of processor time that a host takes to
 * start, more than a third went into finding and reading its 600 modules one by one, twice, since
 * the thread of its data reads them anew.
 */
import { rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { BUNDLE, isBundleCurrent } from "../../bin/entry.mjs";
import { REPOSITORY, SetupError } from "./steps.mjs";

const TARGET = dirname(BUNDLE);
const COMPILED = join(REPOSITORY, "dist/src/");
const ENTRIES = {
  main: "dist/src/cli/main.js",
  "data-worker": "dist/src/host/data/data-worker.js",
  "digest-worker": "dist/src/platform/digest-worker.js",
};

const ENTRY_OF_PATH = new Map(
  Object.entries(ENTRIES).map(([name, path]) => [join(REPOSITORY, path), `./${name}.js`]),
);

function relocated(id, name) {
  const path = join(dirname(id), name);
  const place = ENTRY_OF_PATH.get(path) ?? relative(TARGET, path);
  const text = name.endsWith("/") ? `${place}/` : place;
  return `new URL(${JSON.stringify(text)}, import.meta.url)`;
}

/** From where the bundle is, what a module names relative to itself is somewhere else. */
const relocateFiles = {
  name: "relocate-files",
  transform(code, id) {
    if (!id.startsWith(COMPILED) || !code.includes("import.meta")) return null;
    const [first, ...rest] = code.split(/new URL\("([^"]+)", import\.meta\.url\)/);
    const parts = rest.map((part, index) => (index % 2 === 0 ? relocated(id, part) : part));
    if ([first, ...rest].some((part) => part.includes("import.meta"))) {
      this.error(`${id}: only new URL("...", import.meta.url) can be relocated`);
    }
    return { code: [first, ...parts].join(""), map: null };
  },
};

export async function ensureBundle() {
  if (isBundleCurrent()) return;
  const { build } = await import("rolldown");
  rmSync(TARGET, { recursive: true, force: true });
  try {
    await build({
      input: Object.fromEntries(
        Object.entries(ENTRIES).map(([name, path]) => [name, join(REPOSITORY, path)]),
      ),
      // What has native parts is found where npm put it.
      external: [/^node:/, "koffi", "lmdb", "@node-rs/crc32"],
      platform: "node",
      logLevel: "warn",
      // On a busy machine it takes longer than the bundler finds usual.
      checks: { bundlerTimings: false },
      plugins: [relocateFiles],
      output: { dir: TARGET, format: "esm", chunkFileNames: "[name].js" },
    });
  } catch (error) {
    throw new SetupError(
      `the program was not bundled: ${error.message}`,
      "mend what is named above",
    );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await ensureBundle();
