import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangeBatchBuilder } from "./change-batch.ts";
import type { ChangeBatch } from "./component.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA } from "./component.ts";
import { KeptOffers } from "./kept-offers.ts";

function batchOf(blocks: number): ChangeBatch {
  const builder = new ChangeBatchBuilder();
  builder.add(0, blocks, 1, CHANGE_DATA);
  return builder.finish(-1, true);
}

test("an offer is found once, by its component and epoch and as large as it was", () => {
  const offers = new KeptOffers(1);
  const batch = batchOf(3);
  const number = offers.keep(7, 2, batch);
  assert.equal(offers.take(number, { component: 8, epoch: 2 }, 3), undefined);
  assert.equal(offers.take(number, { component: 7, epoch: 3 }, 3), undefined);
  assert.equal(offers.take(number, { component: 7, epoch: 2 }, 4), undefined);
  assert.equal(offers.take(number, { component: 7, epoch: 2 }, 3), batch);
  assert.equal(offers.take(number, { component: 7, epoch: 2 }, 3), undefined);
  const [mine, other] = [offers.keep(7, 2, batch), offers.keep(8, 2, batch)];
  offers.forget(7);
  assert.equal(offers.take(mine, { component: 7, epoch: 2 }, 3), undefined);
  assert.equal(offers.take(other, { component: 8, epoch: 2 }, 3), batch);
});

test("numbers of one start are never those of another one", () => {
  const numbers = [1, 2, 2 ** 20 - 1].flatMap((incarnation) => {
    const offers = new KeptOffers(incarnation);
    return [offers.keep(1, 1, batchOf(1)), offers.keep(1, 1, batchOf(1))];
  });
  assert.equal(new Set(numbers).size, numbers.length);
  assert.ok(numbers.every((number) => Number.isSafeInteger(number)));
});

test("as many blocks are kept as there is room for, the latest", () => {
  const offers = new KeptOffers(1);
  const numbers = Array.from({ length: 20 }, () => offers.keep(1, 1, batchOf(CHANGE_BLOCKS_MAX)));
  const found = numbers.filter(
    (number) => offers.take(number, { component: 1, epoch: 1 }, CHANGE_BLOCKS_MAX) !== undefined,
  );
  assert.deepEqual(found, numbers.slice(-16));
});
