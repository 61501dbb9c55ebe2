/**
 * Loaded into every process of the product under test (`NODE_OPTIONS=--import`): each of its
 * threads tells now and then how much of its heap is in use. Nobody else can see that from outside.
 *
 * It collects garbage first. What a thread happens to hold between two collections goes up and down
 * by more than an hour's leak; what it holds after one grows only if something is kept.
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { threadId } from "node:worker_threads";

/** A collection stops its thread for some 20 ms. */
const TELL_MS = 20_000;
const FIRST_MS = 1000;

const folder = process.env["DRYSTONE_SOAK_HEAPS"];
if (folder !== undefined) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const file = join(folder, `${process.pid}-${threadId}`);
  const tell = (): void => {
    // What it takes of memory, garbage and room for more included, is told as it is without that.
    const heapPages = getHeapStatistics().total_physical_size;
    collect();
    const { heapUsed, external } = process.memoryUsage();
    writeFileSync(`${file}.new`, JSON.stringify({ heapUsed, external, heapPages }));
    renameSync(`${file}.new`, file);
  };
  setTimeout(tell, FIRST_MS).unref();
  setInterval(tell, TELL_MS).unref();
}
