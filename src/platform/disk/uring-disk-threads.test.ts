import { equal } from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

const run = promisify(execFile);
const index = new URL("../index.js", import.meta.url).href;
let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-disk-");
});
after(() => {
  rmSync(folder, { recursive: true });
});

let diskCount = 0;

/** A script that opens a new disk, reads a block of it, and then does `ending`. */
function script(ending: string): string {
  const path = JSON.stringify(join(folder, `disk-${diskCount++}`));
  return `import(${JSON.stringify(index)}).then(async ({ openDisk }) => {
    const disk = openDisk(${path}, { createSizeBytes: 1 << 20, kind: "io_uring" });
    const memory = disk.allocate(4096);
    await new Promise((resolve, reject) => {
      disk.read(memory, 0, 4096, 0, (token, fault) => fault ? reject(fault) : resolve(), 0);
    });
    ${ending}
  });`;
}

const endings: readonly (readonly [string, string, number])[] = [
  ["closes its disk", "await disk.close();", 0],
  ["leaves its disk open and idle", "", 0],
  ["exits with requests under way", "disk.flush(() => {}, 0); disk.submit(); process.exit(3);", 3],
  ["dies of an error thrown in a completion", "disk.flush(() => { throw new Error('no') }, 0);", 1],
];

for (const [what, ending, code] of endings) {
  test(`a worker that ${what} ends and leaves the process whole`, async () => {
    const worker = new Worker(script(ending), { eval: true });
    worker.on("error", (error) => equal(error.message, "no"));
    const exitCode = await new Promise((resolve) => worker.once("exit", resolve));
    equal(exitCode, code);
  });

  test(`a process that ${what} ends`, async () => {
    const child = run(process.execPath, ["-e", script(ending)], { timeout: 10_000 });
    const exitCode = await child.then(
      () => 0,
      (error: unknown) => (error instanceof Error && "code" in error ? error.code : error),
    );
    equal(exitCode, code);
  });
}
