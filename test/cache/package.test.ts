/** The package as others install it: what the document says about `drystone/cache` works. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const DOCUMENT = path.join(REPOSITORY, "docs/operating/cache.md");
const run = promisify(execFile);

/** Another project, with this package in its node_modules. */
let project = "";

before(async () => {
  project = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-package-"));
  // Packed as it was built: the test must not build.
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", project];
  const { stdout } = await run("npm", pack, { cwd: REPOSITORY });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  await run("tar", ["xzf", filename], { cwd: project });
  fs.mkdirSync(path.join(project, "node_modules"));
  fs.renameSync(path.join(project, "package"), path.join(project, "node_modules/drystone"));
});

after(() => fs.rmSync(project, { recursive: true }));

/** The blocks of JavaScript in the document; the first line of some names a file. */
function examples(): { name: string | undefined; code: string }[] {
  const blocks = fs.readFileSync(DOCUMENT, "utf8").matchAll(/^```js\n([^]*?)^```$/gm);
  return [...blocks].map(([, code = ""]) => ({ name: /^\/\/ (\S+)\n/.exec(code)?.[1], code }));
}

test("workers share pages and survive the end of one, as the document shows", async () => {
  for (const { name, code } of examples()) {
    if (name !== undefined) fs.writeFileSync(path.join(project, name), code);
  }
  const { stdout } = await run(process.execPath, ["main.mjs"], { cwd: project });
  assert.equal(stdout, "worker 0 added 2000\nworker 1 added 2000\nworker 2 added 2000\n");
});

test("values are kept, as the document shows", async () => {
  const code = examples().find(({ name }) => name === undefined)?.code ?? "";
  fs.writeFileSync(path.join(project, "values.mjs"), code);
  const { stdout } = await run(process.execPath, ["values.mjs"], { cwd: project });
  assert.equal(stdout, "1 14 1\n");
});

test("TypeScript knows what the package exports", async () => {
  const code = `import { Cache, SharedPageCache, type CacheStats } from "drystone/cache";
    const cache = new Cache<string, number>({ capacity: 10 });
    const stats: CacheStats = cache.stats;
    const value: number | undefined = cache.get("key");
    // @ts-expect-error A text is no number of entries.
    new Cache({ capacity: "10" });
    export { stats, value, SharedPageCache };`;
  fs.writeFileSync(path.join(project, "use.mts"), code);
  const compiler = path.join(REPOSITORY, "node_modules/.bin/tsc");
  const options = ["--noEmit", "--strict", "--target", "es2023", "--module", "nodenext"];
  await run(compiler, [...options, "use.mts"], { cwd: project });
});
