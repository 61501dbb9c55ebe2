/**
 * Gives the space of free blocks back to the file system, in runs, when enough has gathered or
 * nothing else is going on. A block being punched cannot be allocated.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DeviceState } from "./device-state.ts";
import { reclaimableBytes } from "./device-stats.ts";

const RUN_BLOCKS_MAX = 16_384;
/** Below this much there is nothing to gain: the blocks will be written again soon. */
const WORTHWHILE_BLOCKS = 16_384;

export class Reclaimer {
  readonly #state: DeviceState;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(state: DeviceState) {
    this.#state = state;
  }

  /** Starts a pass if it is worth it. */
  consider(): void {
    if (this.#running !== undefined || this.#stopped) return;
    if (reclaimableBytes(this.#state) < WORTHWHILE_BLOCKS * BLOCK_SIZE_BYTES) return;
    this.run().catch((error: unknown) => {
      this.#state.log.write("warning", "could not give space back", { error: String(error) });
    });
  }

  async run(): Promise<void> {
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #pass(): Promise<void> {
    const { space, requests, superblock, counters } = this.#state;
    let from = 0;
    while (!this.#stopped) {
      const run = space.beginPunch(from, RUN_BLOCKS_MAX);
      if (run === undefined) return;
      from = run.start + run.count;
      const offset = superblock.blocksOffset + run.start * BLOCK_SIZE_BYTES;
      let punched = false;
      try {
        await requests.punch(offset, run.count * BLOCK_SIZE_BYTES);
        punched = true;
        counters.punchedBlocks += run.count;
      } finally {
        space.finishPunch(run.start, run.count, punched);
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    // Why a pass failed is told to whoever started it.
    await this.#running?.catch(() => undefined);
  }
}
