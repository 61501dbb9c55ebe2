/**
 * How the torture's workers come to life: as threads on shared buffers, or as processes on mapped
 * files.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { MemoryFile } from "../../src/platform/memory/memory-file.ts";
import type { ThreadOrder } from "./torture-thread.ts";
import type { TortureOrder } from "./torture-worker.ts";

const THREAD = new URL("./torture-thread.js", import.meta.url);
const PROCESS = fileURLToPath(new URL("./torture-process.js", import.meta.url));
const PAGE_BYTES = 4096;

export interface TortureMember {
  /** Resolves when it has ended by itself or was killed. */
  readonly ended: Promise<unknown>;
  /** At once, wherever it is. Resolves when it runs no more. */
  kill(): Promise<unknown>;
}

export interface TortureCrew {
  readonly cacheMemory: Uint8Array;
  readonly rulesMemory: Uint8Array;
  /** `fail` is told what a member died of, unless it was killed. */
  start(order: TortureOrder, fail: (reason: string) => void): TortureMember;
  close(): void;
}

export function threads(cacheBytes: number, rulesBytes: number): TortureCrew {
  const cacheMemory = new SharedArrayBuffer(cacheBytes);
  const rulesMemory = new SharedArrayBuffer(rulesBytes);
  return {
    cacheMemory: new Uint8Array(cacheMemory),
    rulesMemory: new Uint8Array(rulesMemory),
    start(order, fail) {
      const workerData: ThreadOrder = { ...order, cacheMemory, rulesMemory };
      const thread = new Worker(THREAD, { workerData });
      thread.on("error", (error) => fail(error.stack ?? error.message));
      return { ended: once(thread, "exit"), kill: () => thread.terminate() };
    },
    close: () => undefined,
  };
}

export function processes(cacheBytes: number, rulesBytes: number): TortureCrew {
  const files = [cacheBytes, rulesBytes].map((bytes) =>
    MemoryFile.create("torture", Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES),
  );
  const mappings = files.map((file) => file.map(0, file.sizeBytes));
  return {
    cacheMemory: mappings[0]!.memory.bytes,
    rulesMemory: mappings[1]!.memory.bytes,
    start(order, fail) {
      const child = spawn(process.execPath, [PROCESS, JSON.stringify(order)], {
        stdio: ["ignore", "inherit", "pipe", ...files.map((file) => file.fd)],
      });
      let complaint = "";
      child.stderr!.on("data", (bytes: Buffer) => (complaint += bytes.toString()));
      const ended = once(child, "close").then(([code]) => {
        if (typeof code === "number" && code !== 0) fail(complaint);
      });
      const kill = (): Promise<unknown> => {
        child.kill("SIGKILL");
        return ended;
      };
      return { ended, kill };
    },
    close: () => files.forEach((file) => file.close()),
  };
}
