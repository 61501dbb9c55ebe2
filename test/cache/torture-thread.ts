/** A worker of the torture as a thread. */
import { workerData } from "node:worker_threads";
import { TortureWorker } from "./torture-worker.ts";
import type { TortureOrder } from "./torture-worker.ts";

export interface ThreadOrder extends TortureOrder {
  readonly cacheMemory: SharedArrayBuffer;
  readonly rulesMemory: SharedArrayBuffer;
}

const order = workerData as ThreadOrder;
const memories = [order.cacheMemory, order.rulesMemory].map((memory) => new Uint8Array(memory));
new TortureWorker(order, memories[0]!, memories[1]!).run(order.worker);
