import { ok as assert, equal } from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MAPPED_BYTES_MIN, ResidentLimit } from "./resident-limit.ts";
import { PAGE_BYTES, mapFile, unmap, viewMemory } from "../sys.ts";

const FILE_BYTES = 2 * MAPPED_BYTES_MIN;
const CHUNK = 1 << 20;
/** What the whole process takes out beyond what it must, other threads included. */
const SLACK_BYTES = 16 << 20;
let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-resident-");
});
after(() => rmSync(folder, { recursive: true }));

function resident(): { readonly totalBytes: number; readonly mappedBytes: number } {
  const fields = readFileSync("/proc/self/statm", "latin1").split(" ");
  return {
    totalBytes: Number(fields[1]) * PAGE_BYTES,
    mappedBytes: Number(fields[2]) * PAGE_BYTES,
  };
}

/** Reads one byte of each page, all of which must be what was written. */
function touchAll(bytes: Uint8Array): void {
  for (let at = 0; at < FILE_BYTES; at += PAGE_BYTES)
    if (bytes[at] !== (at / CHUNK) >>> 0) throw new Error(`the byte at ${at} is another one`);
}

test("pages go until the process is below its limit, and come back as they were", () => {
  const path = join(folder, "mapped");
  const data = Buffer.alloc(FILE_BYTES);
  for (let at = 0; at < FILE_BYTES; at += CHUNK) data.fill(at / CHUNK, at, at + CHUNK);
  writeFileSync(path, data);
  const fd = openSync(path, "r+");
  const address = mapFile(fd, 0, FILE_BYTES);
  const bytes = new Uint8Array(viewMemory(address, FILE_BYTES));
  try {
    touchAll(bytes);
    const full = resident();
    assert(full.mappedBytes > FILE_BYTES, "all of the file is resident");

    ResidentLimit.of(path, 2 * full.totalBytes)!.enforce();
    assert(resident().mappedBytes > FILE_BYTES, "nothing goes while there is room");

    // The limit of the process: less than it has, by a part of the file.
    const wantedBytes = full.totalBytes - FILE_BYTES / 4;
    const limit = ResidentLimit.of(path, (wantedBytes * 16) / 15)!;
    for (let round = 0; round < 3; round++) {
      touchAll(bytes);
      limit.enforce();
      const { totalBytes } = resident();
      assert(totalBytes <= wantedBytes + SLACK_BYTES, `${totalBytes} are too many`);
      assert(totalBytes >= wantedBytes - SLACK_BYTES, `${totalBytes}: more went than had to`);
    }

    touchAll(bytes);
    const roomBytes = FILE_BYTES / 8;
    limit.enforce(roomBytes);
    const { totalBytes } = resident();
    assert(totalBytes <= wantedBytes - roomBytes + SLACK_BYTES, `${totalBytes} leave no room`);

    ResidentLimit.of(path, 0)!.enforce();
    const { mappedBytes } = resident();
    assert(mappedBytes <= MAPPED_BYTES_MIN, `${mappedBytes} are mapped without any room`);
    assert(mappedBytes > MAPPED_BYTES_MIN - SLACK_BYTES, `${mappedBytes}: the last ones stay`);
    touchAll(bytes);
  } finally {
    unmap(address, FILE_BYTES);
    closeSync(fd);
  }
});

test("a file that is not mapped has no limit", () => {
  const path = join(folder, "other");
  writeFileSync(path, "x");
  equal(ResidentLimit.of(path, 0), undefined);
  equal(ResidentLimit.of(join(folder, "missing"), 0), undefined);
});
