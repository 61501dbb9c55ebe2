import assert from "node:assert/strict";
import { assertDefined, Prng, setU48 } from "../base/index.ts";
import { component, mirror } from "../cluster/index.ts";
import { CHANGE_DATA, CHANGE_HOLE, ChangeBatchBuilder, dataBlocksOf } from "../store/index.ts";
import type { ChangeBatch, ChangesRequest, Component, OfferAnswer } from "../store/index.ts";
import { FakeComponent, fakeMemory } from "../../test/support/fake-component.ts";
import { test } from "../../test/support/test.ts";
import { BlockTransfer } from "./block-transfer.ts";
import { ChangeExchange } from "./change-exchange.ts";
import type { ExchangeOptions } from "./change-exchange.ts";
import { Leg, LegMember, Legs } from "./legs.ts";
import { ObjectLayout } from "./object-layout.ts";
import { noTraffic, ResyncProgress } from "./resync-progress.ts";
import { TransferMemory } from "./transfer-memory.ts";

const BATCHES = 9;
const BATCH_BLOCKS = 8;
const BLOCKS = BATCHES * BATCH_BLOCKS;
const DATA_BATCH_BLOCKS = 1024;
const DATA_BLOCKS = 40 * DATA_BATCH_BLOCKS;

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

/** Blocks that all differ, as many at once as are asked for, up to a thousand. */
class DataSource extends FakeComponent {
  readonly asked: ChangesRequest[] = [];

  override changes(request: ChangesRequest): Promise<ChangeBatch> {
    this.asked.push(request);
    const { fromBlock } = request;
    const count = Math.min(request.blocksMax, DATA_BATCH_BLOCKS, this.blockCount - fromBlock);
    const builder = new ChangeBatchBuilder();
    builder.add(fromBlock, count, 1, CHANGE_DATA);
    const isOffered = request.withFingerprints === true;
    const fingerprints = new Uint8Array(isOffered ? 32 * count : 0);
    if (isOffered) for (let i = 0; i < count; i++) setU48(fingerprints, 32 * i, fromBlock + i);
    const next = fromBlock + count;
    return Promise.resolve(builder.finish(next < this.blockCount ? next : -1, true, fingerprints));
  }
}

/** Knows all or nothing of an offer, and says how many blocks it wants next, by its number. */
class Knowing extends FakeComponent {
  offers = 0;
  appliedBlocks = 0;
  knows: (offer: number) => boolean = () => true;
  blocksNext: (offer: number) => number = () => 512;

  override offer(_epoch: number, batch: ChangeBatch): Promise<OfferAnswer> {
    const number = this.offers++;
    const bytes = Math.ceil(dataBlocksOf(batch) / 8);
    const missing = new Uint8Array(bytes).fill(this.knows(number) ? 0 : 255);
    const blocksNext = this.blocksNext(number);
    return Promise.resolve({ missing, awaited: new Uint8Array(bytes), blocksNext });
  }

  override apply(_epoch: number, batch: ChangeBatch): Promise<void> {
    this.appliedBlocks += dataBlocksOf(batch);
    return Promise.resolve();
  }
}

async function bring(
  from: FakeComponent,
  to: FakeComponent,
  options: Partial<ExchangeOptions>,
): Promise<void> {
  const tree = mirror([component(from.componentId), component(to.componentId)]);
  const [fromLayout, toLayout] = new ObjectLayout(tree).legs;
  const source = new LegMember<Component>(from.componentId, from, "active");
  const member = new LegMember<Component>(to.componentId, to, "catching-up");
  const fromLeg = new Leg(assertDefined(fromLayout, "no leg"), [source]);
  const leg = new Leg(assertDefined(toLayout, "no leg"), [member]);
  const transfer = new BlockTransfer(new Legs([fromLeg, leg]), 1, new TransferMemory(fakeMemory));
  const progress = new ResyncProgress(noTraffic());
  progress.begin(1, 0);
  const exchange = new ChangeExchange(
    { member, leg, column: 0, epoch: 1, sequenceMax: 1, isFilteredByRange: true },
    transfer,
    progress,
    {
      pace: undefined,
      offersFingerprints: true,
      isAlone: () => true,
      isGivenUp: () => false,
      ...options,
    },
  );
  const part = { fromBlock: 0, toBlock: from.blockCount };
  await exchange.bring({ leg: fromLeg, column: 0, member: source, ...part }, 0, 0);
}

class Bench {
  readonly from: HoleSource = new HoleSource("a".repeat(32), BLOCKS, new Prng(1));
  readonly to: SlowTarget = new SlowTarget("b".repeat(32), BLOCKS, new Prng(2));

  bring(options: Partial<ExchangeOptions>): Promise<void> {
    return bring(this.from, this.to, options);
  }
}

class DataBench {
  readonly from: DataSource = new DataSource("a".repeat(32), DATA_BLOCKS, new Prng(1));
  readonly to: Knowing = new Knowing("b".repeat(32), DATA_BLOCKS, new Prng(2));

  async bring(options: Partial<ExchangeOptions> = {}): Promise<void> {
    this.from.completesReadsAtOnce = true;
    await bring(this.from, this.to, options);
  }

  /** "o" for each batch that was looked for to be offered, "-" for one that went at once. */
  get manners(): string {
    return this.from.asked.map((one) => (one.withFingerprints === true ? "o" : "-")).join("");
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
  await bench.bring({});
  assert.equal(bench.from.asked.length, BATCHES);
  assert.equal(bench.to.given, BATCHES);
});

test("what goes without being offered is looked for in large batches, unless clients come first", async () => {
  const alone = new Bench();
  await alone.bring({ offersFingerprints: false });
  assert.deepEqual([...new Set(alone.from.asked.map(({ blocksMax }) => blocksMax))], [4096]);
  const besideClients = new Bench();
  const pace = { turn: (blocks: number) => Promise.resolve(Math.min(blocks, 256)) };
  await besideClients.bring({ offersFingerprints: false, pace });
  assert.deepEqual([...new Set(besideClients.from.asked.map(({ blocksMax }) => blocksMax))], [256]);
});

test("as many blocks are offered at a time as the member said last", async () => {
  const bench = new DataBench();
  bench.to.blocksNext = (offer) => (offer < 20 ? 100 : offer < 40 ? 1000 : 300);
  await bench.bring();
  const sizes = bench.from.asked.map(({ blocksMax }) => blocksMax);
  const steps = sizes.filter((size, i) => size !== sizes[i - 1]);
  assert.deepEqual(steps, [512, 100, 1000, 300]);
  assert.equal(bench.to.appliedBlocks, 0, "all of it was known");
});

test("where less than one block in 32 is known, data goes at once, and one batch in between is offered", async () => {
  const bench = new DataBench();
  bench.to.knows = () => false;
  await bench.bring();
  // The share that is known is halved with each offer: after five it is one in 32, after six less.
  const { manners } = bench;
  assert.match(manners, /^o{6,10}(----o)+-{0,4}$/);
  const offered = bench.from.asked.filter((one) => one.withFingerprints === true);
  assert.equal(bench.to.offers, offered.length, "what went at once was not offered");
  assert.equal(bench.to.appliedBlocks, DATA_BLOCKS);
});

test("one offer of which much is known has all that follows offered again", async () => {
  const bench = new DataBench();
  // The first few and one in between are unknown; the next that is asked about is known.
  bench.to.knows = (offer) => offer > 10;
  await bench.bring();
  assert.match(bench.manners, /^o{6,10}(----o)+-{0,4}o{8,}$/);
});

test("as long as other copies are brought to the present, too, all is offered", async () => {
  const bench = new DataBench();
  bench.to.knows = () => false;
  await bench.bring({ isAlone: () => false });
  assert.match(bench.manners, /^o+$/);
});
