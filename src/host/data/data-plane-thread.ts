/**
 * The data plane on a worker thread, seen from the main thread. A worker that ends without being
 * asked to takes the process with it (`onDeath`): acknowledged writes are durable, and a fresh
 * start recovers.
 */
import { Worker } from "node:worker_threads";
import { CodedError, errorText } from "../../base/index.ts";
import type {
  ControlMethods,
  CutMethods,
  DataPlaneMethods,
  TrustMethods,
  WatchMethods,
} from "./data-plane-port.ts";
import type { PlaneIdentity } from "./plane-world.ts";
import { RpcPeer } from "./rpc.ts";

/** The data path leaves next to no garbage, and a larger nursery would only be memory. */
const YOUNG_GENERATION_MB = 16;
/**
 * Far more than a host needs. V8 lets a heap that may be larger grow to several times what lives
 * in it before it looks for garbage, and what that garbage holds outside the heap with it.
 */
const OLD_GENERATION_MB = 1024;

const DATA_WORKER = new URL("./data-worker.js", import.meta.url);

type WorkerMethods = DataPlaneMethods & WatchMethods & CutMethods & TrustMethods;

export class DataPlaneThread {
  readonly peer: RpcPeer<ControlMethods, WorkerMethods>;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #isStopping = false;

  constructor(
    identity: PlaneIdentity,
    control: ControlMethods,
    onDeath: (error: CodedError) => void,
    entry: URL = DATA_WORKER,
  ) {
    this.#worker = new Worker(entry, {
      workerData: identity,
      resourceLimits: {
        maxOldGenerationSizeMb: OLD_GENERATION_MB,
        maxYoungGenerationSizeMb: YOUNG_GENERATION_MB,
      },
    });
    this.peer = new RpcPeer(this.#worker, control);
    let cause: unknown;
    this.#worker.on("error", (error) => {
      cause = error;
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        const error = died(code, cause);
        this.peer.fail(error);
        if (!this.#isStopping) onDeath(error);
        resolve();
      });
    });
  }

  /**
   * Closes the data plane and waits for the worker to end by itself: ending it from here while the
   * loop still closes handles would abort the process.
   */
  async close(): Promise<void> {
    const closed = this.peer.call("close", undefined);
    this.#isStopping = true;
    try {
      await closed;
    } finally {
      await this.#ended;
    }
  }
}

function died(code: number, cause: unknown): CodedError {
  const why = cause === undefined ? `exit code ${code}` : errorText(cause);
  return new CodedError(
    {
      code: "data-worker-died",
      message: `the data worker ended unexpectedly: ${why}`,
      hint: "Start the host again: it recovers what was acknowledged; report the bug with the host's log",
    },
    { cause },
  );
}
