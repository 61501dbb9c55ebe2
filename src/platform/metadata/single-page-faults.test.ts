import { ok as assert, deepEqual, equal } from "node:assert/strict";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { SinglePageFaults } from "./single-page-faults.ts";
import { dropMappedPages, mapFile, PAGE_BYTES, unmap, viewMemory } from "../sys.ts";

const PAGES = 16_384;
const FILE_BYTES = PAGES * PAGE_BYTES;
/** So far apart that no two are mapped by one fault, where those map sixteen. */
const STEP_PAGES = 32;
let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "drystone-faults-"));
});
after(() => rmSync(folder, { recursive: true }));

/** Of this mapping alone. */
function residentBytes(address: number): number {
  const [, mapping] = readFileSync("/proc/self/smaps", "utf8").split(
    `${address.toString(16).padStart(8, "0")}-`,
  );
  return Number(/Rss:\s+(\d+) kB/.exec(mapping ?? "")?.[1]) * 1024;
}

function touch(bytes: Uint8Array): void {
  for (let page = 0; page < PAGES; page += STEP_PAGES)
    equal(bytes[page * PAGE_BYTES], page % 251, `page ${page}`);
}

test("of a mapped file only those pages count as memory that were touched", (context) => {
  const fd = openSync(join(folder, "mapped"), "w+");
  for (let page = 0; page < PAGES; page++) writeSync(fd, Buffer.alloc(PAGE_BYTES, page % 251));
  const address = mapFile(fd, 0, FILE_BYTES);
  const bytes = new Uint8Array(viewMemory(address, FILE_BYTES));
  const faults = SinglePageFaults.of(address, FILE_BYTES);
  try {
    dropMappedPages(address, FILE_BYTES);
    touch(bytes);
    const withIt = residentBytes(address);
    if (faults === undefined) return context.skip("this kernel does not know it");
    equal(withIt, (PAGES / STEP_PAGES) * PAGE_BYTES);
    // Pages that have gone come back as they were, and are written as ever.
    dropMappedPages(address, FILE_BYTES);
    bytes[PAGE_BYTES] = 9;
    touch(bytes);
    equal(bytes[PAGE_BYTES], 9);
    faults.close();
    dropMappedPages(address, FILE_BYTES);
    touch(bytes);
    assert(residentBytes(address) > 8 * withIt, "it is not what made the difference");
  } finally {
    unmap(address, FILE_BYTES);
    closeSync(fd);
  }
});

test("where there is no such mapping faults stay as they are", () => {
  equal(SinglePageFaults.of(0, PAGE_BYTES), undefined);
});

test("Node has nothing to say of a thread that lets go of it", async () => {
  const work = `
    const { parentPort, workerData } = require("node:worker_threads");
    const fs = require("node:fs");
    process.on("warning", (warning) => parentPort.postMessage(String(warning)));
    (async () => {
      const { SinglePageFaults } = await import(workerData.faults);
      const { mapFile, unmap } = await import(workerData.sys);
      const fd = fs.openSync(workerData.path, "w+");
      fs.ftruncateSync(fd, workerData.bytes);
      const address = mapFile(fd, 0, workerData.bytes);
      SinglePageFaults.of(address, workerData.bytes)?.close();
      unmap(address, workerData.bytes);
      fs.closeSync(fd);
    })();
  `;
  const warnings: unknown[] = [];
  const worker = new Worker(work, {
    eval: true,
    workerData: {
      faults: new URL("single-page-faults.js", import.meta.url).href,
      sys: new URL("../sys.js", import.meta.url).href,
      path: join(folder, "of a thread"),
      bytes: PAGES * PAGE_BYTES,
    },
  });
  worker.on("message", (warning) => warnings.push(warning));
  deepEqual(await once(worker, "exit"), [0]);
  deepEqual(warnings, []);
});
