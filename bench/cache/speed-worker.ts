/** One of the workers whose joint speed on a shared cache is measured. */
import { parentPort, workerData } from "node:worker_threads";
import { SharedPageCache } from "../../src/cache/index.ts";
import { CAPACITY, getOrInsert, zipfKeys } from "./speed-work.ts";
import type { SpeedSample, WorkerOrder } from "./speed-work.ts";

const CHUNK = 20_000;

function run(order: WorkerOrder): SpeedSample {
  const cache = new SharedPageCache(order.shared);
  const keys = zipfKeys(Math.round(1.1 * CAPACITY), 1_000_000, order.seed);
  let at = 0;
  let found = 0;
  const chunk = (): void => {
    for (let i = 0; i < CHUNK; i++) {
      if (getOrInsert(cache, keys[at]!)) found++;
      at = at === keys.length - 1 ? 0 : at + 1;
    }
  };
  for (let i = 0; i < 100; i++) chunk();
  const start = new Int32Array(order.start);
  const ready = Atomics.add(start, 0, 1) + 1;
  if (ready === order.workerCount) Atomics.notify(start, 0);
  for (let n = ready; n < order.workerCount; n = Atomics.load(start, 0)) Atomics.wait(start, 0, n);
  found = 0;
  let calls = 0;
  const begin = performance.now();
  const end = begin + order.seconds * 1000;
  while (performance.now() < end) {
    chunk();
    calls += CHUNK;
  }
  const seconds = (performance.now() - begin) / 1000;
  return { calls, callsPerSecond: calls / seconds, hitRatio: found / calls };
}

const sample = run(workerData as WorkerOrder);
parentPort?.postMessage(sample);
