/**
 * Forks in a workload on one device, with a model: a frozen one holds for ever what the component
 * held when it was made, whatever happens to that one and to other forks, and wherever the power is
 * cut.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES } from "../src/base/index.ts";
import type { Component } from "../src/store/index.ts";
import { randomWorkload, StoreWorld } from "./store-world.ts";

export interface ForkModel {
  readonly componentId: string;
  readonly tags: readonly number[];
  /** It exists for certain, or may, while something is being done to it. */
  state: "there" | "unsure";
}

export class ForkWorld extends StoreWorld {
  readonly forks: ForkModel[] = [];
  #next = 1;

  async makeFork(isFrozen = true): Promise<void> {
    const componentId = `f0${(this.#next++).toString(16).padStart(30, "0")}`;
    const tags = this.blocks.map((block) => block.acknowledged);
    const fork: ForkModel = { componentId, tags, state: "unsure" };
    this.forks.push(fork);
    await this.fork(componentId, isFrozen);
    fork.state = "there";
  }

  async deleteFork(fork: ForkModel): Promise<void> {
    fork.state = "unsure";
    await this.device!.deleteComponent(fork.componentId);
    this.forks.splice(this.forks.indexOf(fork), 1);
  }

  forked(fork: ForkModel): Component | undefined {
    return this.device!.component(fork.componentId);
  }

  async verifyForks(): Promise<void> {
    for (const fork of [...this.forks]) {
      const component = this.forked(fork);
      if (component === undefined && fork.state === "unsure") {
        this.forks.splice(this.forks.indexOf(fork), 1);
        continue;
      }
      assert(component !== undefined, `fork ${fork.componentId} is gone`);
      fork.state = "there";
      await this.verifyFork(fork, component);
    }
  }

  async verifyFork({ componentId, tags }: ForkModel, component: Component): Promise<void> {
    for (let first = 0; first < this.blockCount; first += 64) {
      const count = Math.min(64, this.blockCount - first);
      const bytes = await this.read(first, count, component);
      for (let i = 0; i < count; i++) {
        const actual = bytes.subarray(i * BLOCK_SIZE_BYTES, (i + 1) * BLOCK_SIZE_BYTES);
        const wanted = StoreWorld.content(tags[first + i]!);
        const isSame = Buffer.compare(actual, wanted) === 0;
        assert(isSame, `block ${first + i} of fork ${componentId} has changed`);
      }
    }
  }
}

/** Writes, forks and deletions of forks, in turn. */
export async function forkWorkload(world: ForkWorld, rounds: number): Promise<void> {
  const { prng } = world;
  for (let round = 0; round < rounds; round++) {
    await randomWorkload(world, prng.between(1, 8));
    // A refused transaction stays undecided here, so that nothing can be forked any more.
    if (world.faults.length > 0) return;
    const choice = prng.below(4);
    if (choice < 2) await world.makeFork(prng.chance(0.7));
    else if (choice === 2 && world.forks.length > 0) await world.deleteFork(prng.pick(world.forks));
  }
}
