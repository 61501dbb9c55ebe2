/**
 * Forks in a workload on one device, with a model: a frozen one holds for ever what the component
 * held when it was made, whatever happens to that one and to other forks, and wherever the power is
 * cut.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, hasBit, REGION_BLOCKS } from "../src/base/index.ts";
import { CHANGE_DATA } from "../src/store/index.ts";
import type { ChangeBatch, Component } from "../src/store/index.ts";
import { pickDataBlocks } from "../src/store/change-batch.ts";
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

  /** A component like the fork, made as one is in place of a copy that is lost. */
  async remakeFork({ componentId: from, tags }: ForkModel): Promise<ForkModel> {
    const componentId = `e0${(this.#next++).toString(16).padStart(30, "0")}`;
    const made: ForkModel = { componentId, tags, state: "unsure" };
    this.forks.push(made);
    await this.remake(this, from, componentId);
    made.state = "there";
    return made;
  }

  /** Makes a component that is like one here or in another world. Nothing of it is undecided. */
  async remake(of: StoreWorld, from: string, componentId: string): Promise<void> {
    const { device, blockCount } = this;
    const source = of.device!.component(from)!;
    const sizeBytes = blockCount * BLOCK_SIZE_BYTES;
    const objectId = "0c".repeat(16);
    const made = await device!.createComponent({
      componentId,
      objectId,
      sizeBytes,
      lacksAll: true,
    });
    const { epoch, committedSequence } = source.info;
    await made.open(epoch);
    await made.beginCatchUp(epoch, 0);
    made.commit(epoch, committedSequence);
    for (let fromBlock = 0; fromBlock >= 0;) {
      const range = { epoch, since: 0, fromBlock, toBlock: blockCount, blocksMax: 64 };
      const batch = await source.changes({ ...range, withFingerprints: true });
      await this.#send({ component: made, epoch }, batch, (block) => of.read(block, 1, source));
      fromBlock = batch.nextBlock;
    }
    const regions = Math.ceil(blockCount / REGION_BLOCKS);
    assert.deepEqual(
      await made.digests(epoch, 0, regions),
      await source.digests(epoch, 0, regions),
    );
    await made.endCatchUp(epoch);
  }

  /** What is not here of the batch is read there. */
  async #send(
    to: { readonly component: Component; readonly epoch: number },
    batch: ChangeBatch,
    read: (block: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const { component, epoch } = to;
    const { missing } = await component.offer(epoch, batch, false);
    const indexes: number[] = [];
    const payload: Uint8Array[] = [];
    let index = 0;
    for (const [run, start] of batch.starts.entries()) {
      if (batch.kinds[run] !== CHANGE_DATA) continue;
      for (let block = start; block < start + batch.counts[run]!; block++, index++) {
        if (!hasBit(missing, index)) continue;
        indexes.push(index);
        payload.push(await read(block));
      }
    }
    if (indexes.length > 0)
      await component.apply(epoch, pickDataBlocks(batch, indexes), Buffer.concat(payload));
  }

  /** What a crash has left half made goes, as its object's owner would have it. */
  async dropHalfMade(): Promise<void> {
    for (const { componentId, catchUpFrom } of this.device!.components()) {
      if (catchUpFrom === undefined) continue;
      await this.device!.deleteComponent(componentId);
      const at = this.forks.findIndex((fork) => fork.componentId === componentId);
      if (at >= 0) this.forks.splice(at, 1);
    }
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

/** Writes, forks, forks that are made anew, and deletions of forks, in turn. */
export async function forkWorkload(world: ForkWorld, rounds: number): Promise<void> {
  const { prng } = world;
  for (let round = 0; round < rounds; round++) {
    await randomWorkload(world, prng.between(1, 8));
    // A refused transaction stays undecided here, so that nothing can be forked any more.
    if (world.faults.length > 0) return;
    const choice = prng.below(5);
    if (choice < 2) await world.makeFork(prng.chance(0.7));
    else if (world.forks.length === 0) continue;
    else if (choice === 2) await world.deleteFork(prng.pick(world.forks));
    else if (choice === 3) await world.remakeFork(prng.pick(world.forks));
  }
}
