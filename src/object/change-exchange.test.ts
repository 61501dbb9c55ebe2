import assert from "node:assert/strict";
import { assertDefined, Prng } from "../base/index.ts";
import { component, mirror } from "../cluster/index.ts";
import { CHANGE_HOLE, ChangeBatchBuilder } from "../store/index.ts";
import type { ChangeBatch, ChangesRequest, Component, OfferAnswer } from "../store/index.ts";
import { FakeComponent, fakeMemory } from "../../test/support/fake-component.ts";
import { test } from "../../test/support/test.ts";
import { BlockTransfer } from "./block-transfer.ts";
import { ChangeExchange } from "./change-exchange.ts";
import type { ResyncPace } from "./change-exchange.ts";
import { Leg, LegMember, Legs } from "./legs.ts";
import { ObjectLayout } from "./object-layout.ts";
import { noTraffic, ResyncProgress } from "./resync-progress.ts";
import { TransferMemory } from "./transfer-memory.ts";

const BATCHES = 9;
const BATCH_BLOCKS = 8;
const BLOCKS = BATCHES * BATCH_BLOCKS;

/** Holes only: they need no data. Each batch has a few, however many are asked for. */
class HoleSource extends FakeComponent {
  readonly asked: ChangesRequest[] = [];
  onAsked: () => void = () => {};

  override changes(request: ChangesRequest): Promise<ChangeBatch> {
    this.asked.push(request);
    this.onAsked();
    const builder = new ChangeBatchBuilder();
    builder.add(request.fromBlock, BATCH_BLOCKS, 1, CHANGE_HOLE);
    const next = request.fromBlock + BATCH_BLOCKS;
    return Promise.resolve(builder.finish(next < BLOCKS ? next : -1, true));
  }
}

class SlowTarget extends FakeComponent {
  given = 0;
  whenTaken: Promise<void> = Promise.resolve();

  override async offer(): Promise<OfferAnswer> {
    this.given++;
    await this.whenTaken;
    return { missing: new Uint8Array(0), awaited: new Uint8Array(0), blocksNext: BATCH_BLOCKS };
  }

  override async apply(): Promise<void> {
    this.given++;
    await this.whenTaken;
  }
}

class Bench {
  readonly from: HoleSource = new HoleSource("a".repeat(32), BLOCKS, new Prng(1));
  readonly to: SlowTarget = new SlowTarget("b".repeat(32), BLOCKS, new Prng(2));

  async bring(offersFingerprints: boolean, pace?: ResyncPace): Promise<void> {
    const tree = mirror([component(this.from.componentId), component(this.to.componentId)]);
    const [fromLayout, toLayout] = new ObjectLayout(tree).legs;
    const source = new LegMember<Component>(this.from.componentId, this.from, "active");
    const member = new LegMember<Component>(this.to.componentId, this.to, "catching-up");
    const fromLeg = new Leg(assertDefined(fromLayout, "no leg"), [source]);
    const leg = new Leg(assertDefined(toLayout, "no leg"), [member]);
    const transfer = new BlockTransfer(new Legs([fromLeg, leg]), 1, new TransferMemory(fakeMemory));
    const exchange = new ChangeExchange(
      { member, leg, column: 0, epoch: 1, sequenceMax: 1, isFilteredByRange: true },
      transfer,
      new ResyncProgress(noTraffic(), 1, 0),
      { pace, offersFingerprints, isAlone: () => true, isGivenUp: () => false },
    );
    await exchange.bring(
      { leg: fromLeg, column: 0, member: source, fromBlock: 0, toBlock: BLOCKS },
      0,
      0,
    );
  }
}

test("a source is asked for more while the member has as many batches as it may", async () => {
  const bench = new Bench();
  // Nothing is taken before the source was asked for one batch more than may be under way.
  bench.to.whenTaken = new Promise((resolve) => {
    bench.from.onAsked = () => {
      if (bench.from.asked.length === 5) resolve();
    };
  });
  await bench.bring(true);
  assert.equal(bench.from.asked.length, BATCHES);
  assert.equal(bench.to.given, BATCHES);
});

test("what goes without being offered is looked for in large batches, unless clients come first", async () => {
  const alone = new Bench();
  await alone.bring(false);
  assert.deepEqual([...new Set(alone.from.asked.map(({ blocksMax }) => blocksMax))], [4096]);
  const besideClients = new Bench();
  await besideClients.bring(false, { turn: (blocks) => Promise.resolve(Math.min(blocks, 256)) });
  assert.deepEqual([...new Set(besideClients.from.asked.map(({ blocksMax }) => blocksMax))], [256]);
});
