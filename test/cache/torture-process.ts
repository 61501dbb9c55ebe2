/**
 * A worker of the torture as a process: torture-process.js ORDER, the cache's memory as descriptor
 * 3, the torture's as descriptor 4.
 */
import { fstatSync } from "node:fs";
import { mapShared } from "../../src/platform/memory/shared-mappings.ts";
import { TortureWorker } from "./torture-worker.ts";
import type { TortureOrder } from "./torture-worker.ts";

const order = JSON.parse(process.argv[2] ?? "{}") as TortureOrder;
const memories = [3, 4].map((fd) => mapShared(fd, 0, fstatSync(fd).size).bytes);
new TortureWorker(order, memories[0]!, memories[1]!).run(order.worker);
