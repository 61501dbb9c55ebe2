/** Contents that copies lack, and that are on their way there for other blocks. */
import assert from "node:assert/strict";
import { assertDefined } from "../base/index.ts";
import { BLOCKS, assertEqual, catchUp, pair, send, tagsAt } from "../../test/store-pair.ts";
import { test } from "../../test/support/test.ts";
import type { ChangeBatch } from "./component.ts";

test("what is on its way home is not sent again for another block", async () => {
  await pair(5, async (a, b) => {
    await a.write(1, 0, [7, 8, 9]);
    for (const store of [a, b]) store.component.commit(1, 0);
    assert.equal((await catchUp(a, b, 0)).sentBlocks, 3);
    await a.write(2, 100, [9, 8, 7]);
    assert.equal((await catchUp(a, b, 1)).sentBlocks, 0, "the journal has them");
    for (const store of [a, b]) store.component.commit(1, 2);
    await assertEqual(a, b);
  });
});

test("what came newer than it was offered is not taken for what was offered", async () => {
  await pair(8, async (a, b) => {
    const { epoch } = a.component.info;
    await a.write(1, 0, [7]);
    for (const store of [a, b]) store.component.commit(1, 0);
    const asked = { epoch, since: 0, fromBlock: 0, toBlock: BLOCKS, blocksMax: 64 };
    const batch = await a.component.changes({ ...asked, withFingerprints: true });
    const { missing } = await b.component.offer(epoch, batch, false);
    // Written over before it is read to be sent.
    await a.write(2, 0, [9]);
    assert.equal(await send(b, batch, missing, await a.contents()), 1);
    await a.write(3, 100, [7]);
    assert.equal((await catchUp(a, b, 1)).sentBlocks, 2);
    for (const store of [a, b]) store.component.commit(1, 3);
    await assertEqual(a, b);
  });
});

test("what is being sent for one block is waited for by another, for a moment", async () => {
  await pair(7, async (a, b) => {
    await a.write(1, 0, [7]);
    await a.write(2, 100, [7]);
    await a.write(3, 200, [8]);
    await a.write(4, 300, [8]);
    for (const store of [a, b]) store.component.commit(1, 4);
    await b.component.beginCatchUp(1, 0);
    const changes = async (fromBlock: number): Promise<ChangeBatch> => {
      const toBlock = fromBlock + 1;
      const range = { epoch: 1, since: 0, fromBlock, toBlock, blocksMax: 1 };
      return await a.component.changes({ ...range, withFingerprints: true });
    };
    const bits = async (fromBlock: number, isSecond: boolean): Promise<readonly number[]> => {
      const answer = await b.component.offer(1, await changes(fromBlock), isSecond);
      return [answer.missing[0]!, answer.awaited[0]!];
    };
    assert.deepEqual(await bits(0, false), [1, 0], "it has to be sent");
    assert.deepEqual(await bits(100, false), [1, 1], "it is being sent");
    const second = bits(100, true);
    await send(b, await changes(0), Uint8Array.of(1), await a.contents());
    assert.deepEqual(await second, [0, 0], "it has come");
    assert.deepEqual(await bits(200, false), [1, 0]);
    assert.deepEqual(await bits(300, true), [1, 0], "nobody has sent it");
  });
});

test("what comes while an offer is looked at is not sent again", async () => {
  await pair(9, async (a, b) => {
    await a.write(1, 0, [7]);
    await a.write(2, 10, [8]);
    await a.write(3, 100, [7, 8]);
    for (const store of [a, b]) store.component.commit(1, 3);
    await b.component.beginCatchUp(1, 0);
    const changes = async (fromBlock: number): Promise<ChangeBatch> => {
      const range = { epoch: 1, since: 0, fromBlock, toBlock: fromBlock + 2, blocksMax: 2 };
      return await a.component.changes({ ...range, withFingerprints: true });
    };
    const contents = await a.contents();
    const [first, second, both] = [await changes(0), await changes(10), await changes(100)];
    for (const batch of [first, second]) await b.component.offer(1, batch, false);
    await send(b, first, Uint8Array.of(1), contents);
    // What came first is compared with what is offered, and the second one comes meanwhile.
    const offered = b.component.offer(1, both, false);
    await send(b, second, Uint8Array.of(1), contents);
    const { missing, awaited, offer } = await offered;
    assert.deepEqual([missing[0], awaited[0]], [0b10, 0b10]);
    const again = await b.component.offerAgain(1, assertDefined(offer, "it is kept"), 1);
    assert.deepEqual([again?.missing[0], again?.awaited[0]], [0, 0], "it is here");
    assert.deepEqual(tagsAt(await b.contents(), 100, 2), [7, 8]);
  });
});
