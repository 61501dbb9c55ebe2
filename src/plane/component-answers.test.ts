import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { component, mirror } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, ChangeBatchBuilder } from "../store/index.ts";
import type { ChangeBatch, Component } from "../store/index.ts";
import { idOf, PlaneWorld } from "../../test/support/plane-world.ts";
import { test } from "../../test/support/test.ts";
import { decodeOfferAnswer, encodeBatch } from "./change-codec.ts";

const BLOCKS = 1024;
const OPENING = {
  handle: 0,
  blockCount: BLOCKS,
  epoch: 1,
  isComplete: true,
  committedSequence: 5,
  preparedSequence: 6,
};
const REQUEST = {
  epoch: 1,
  since: 0,
  fromBlock: 100,
  toBlock: 900,
  blocksMax: 64,
  withFingerprints: false,
};

/** Works with a component of a host that answers `method` with what `answer` says. */
async function answered(
  method: string,
  answers: readonly { readonly result: unknown; readonly payload?: Uint8Array }[],
  work: (component: Component) => Promise<unknown>,
): Promise<unknown[]> {
  const tree = mirror([component(idOf("a")), component(idOf("b"))]);
  const world = new PlaneWorld(new Simulation({ seed: 1 }), tree, BLOCKS * 4096, "ab");
  const found: unknown[] = [];
  await world.simulation.run(async () => {
    await world.build();
    await world.until(() => world.host("a").links!.linkTo(idOf("b")) !== undefined);
    const remote = world.host("a").remote!.component(idOf("b"), idOf("b"));
    for (const answer of answers) {
      world.host("b").links!.handle(method, async () => answer);
      found.push(await work(remote).catch((error: unknown) => error));
    }
  });
  return found;
}

function assertInvalid(found: readonly unknown[], count: number): void {
  assert.equal(found.length, count);
  for (const [i, error] of found.entries())
    assert.ok(error instanceof CodedError && error.code === "message-invalid", `answer ${i}`);
}

function batchOf(
  runs: readonly (readonly [start: number, count: number, sequence?: number])[],
  nextBlock: number,
): ChangeBatch {
  const columns = (at: 0 | 1 | 2): Float64Array => Float64Array.from(runs, (run) => run[at] ?? 1);
  return {
    ...new ChangeBatchBuilder().finish(nextBlock, true),
    starts: columns(0),
    counts: columns(1),
    sequences: columns(2),
    kinds: new Uint8Array(runs.length).fill(CHANGE_DATA),
  };
}

test("changes that another host makes up are refused before anything walks them", async () => {
  const bad = [
    batchOf([[100, 2 ** 40]], -1),
    batchOf([[100, NaN]], -1),
    batchOf([[99, 2]], -1),
    batchOf([[100, 1, NaN]], -1),
    batchOf([[100, 1, 2 ** 52]], -1),
    batchOf([[100, 1, 1.5]], -1),
    ...[100, 99, -2, 900, 2 ** 40].map((next) => batchOf([], next)),
    { ...batchOf([[100, 1]], -1), fingerprints: new Uint8Array(32) },
  ].map((batch) => {
    const { shape, bytes } = encodeBatch(batch);
    return { result: shape, payload: bytes };
  });
  const work = (one: Component): Promise<unknown> => one.changes(REQUEST);
  assertInvalid(await answered("component.changes", bad, work), bad.length);
  const { shape, bytes } = encodeBatch(batchOf([[100, 7]], 107));
  const [good] = await answered("component.changes", [{ result: shape, payload: bytes }], work);
  assert.equal((good as ChangeBatch).nextBlock, 107);
});

test("an opening with numbers that cannot be is refused", async () => {
  const bad = [
    null,
    { ...OPENING, handle: -1 },
    { ...OPENING, handle: 2 ** 40 },
    { ...OPENING, blockCount: -1 },
    { ...OPENING, blockCount: 2 ** 50 },
    { ...OPENING, committedSequence: 2 ** 48 - 1 },
    { ...OPENING, preparedSequence: -5 },
    { ...OPENING, epoch: 2 ** 52 },
  ].map((result) => ({ result }));
  const work = (one: Component): Promise<unknown> => one.open(1);
  assertInvalid(await answered("component.open", bad, work), bad.length);
});

test("digests, and where a copy is complete, are refused if they are not what was asked for", async () => {
  const digests = [new Uint8Array(0), new Uint8Array(31), new Uint8Array(1 << 20)];
  const bad = digests.map((payload) => ({ result: null, payload }));
  const work = (one: Component): Promise<unknown> => one.digests(1, 0, 2);
  assertInvalid(await answered("component.digests", bad, work), bad.length);
  const sequences = [null, -1, 0.5, 11].map((result) => ({ result }));
  const begin = (one: Component): Promise<unknown> => one.beginCatchUp(1, 10);
  assertInvalid(await answered("component.begin-catch-up", sequences, begin), sequences.length);
});

test("no more is offered next than fits into one batch, whatever the other host asks for", () => {
  const bits = new Uint8Array(2);
  assert.equal(decodeOfferAnswer(1e300, bits, 8).blocksNext, CHANGE_BLOCKS_MAX);
  assert.equal(decodeOfferAnswer({ blocksNext: 7.9, offer: 3 }, bits, 8).blocksNext, 7);
  for (const said of [0, -1, NaN, null, "8"])
    assert.throws(() => decodeOfferAnswer(said, bits, 8), CodedError);
  for (const offer of [0.5, NaN, -1])
    assert.equal(decodeOfferAnswer({ blocksNext: 7, offer }, bits, 8).offer, undefined);
});
