import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { noTraffic, ResyncProgress } from "./resync-progress.ts";

test("what an attempt sends again or finds from an earlier one counts once", () => {
  const total = noTraffic();
  const progress = new ResyncProgress(total);
  assert.equal(progress.at(0), undefined);
  progress.begin(2, 1000);
  // Ten of forty blocks are looked at: two are there already, five of the other eight are sent.
  progress.walked(0, 0.5);
  progress.count("bytesNeeded", 10);
  progress.count("bytesSkipped", 2);
  progress.count("metadataBytes", 3);
  progress.count("bytesSent", 5);
  progress.end(2000);
  const cut = { bytesNeeded: 10, bytesSent: 5, bytesSkipped: 2, metadataBytes: 3 };
  const waiting = { ...cut, share: 0.25, elapsedMs: 1000, msLeft: 3000 };
  assert.deepEqual(progress.at(60_000), waiting);

  progress.begin(2, 61_000);
  progress.count("bytesNeeded", 10);
  // Two were there, four have come, one is lost, as it was not durable yet.
  progress.count("bytesSkipped", 6);
  progress.count("metadataBytes", 3);
  progress.count("bytesSent", 4);
  progress.walked(0, 0.25);
  const again = progress.at(61_500);
  assert.deepEqual(again, {
    bytesNeeded: 10,
    bytesSent: 9,
    bytesSkipped: 2,
    metadataBytes: 6,
    share: 0.25,
    elapsedMs: 1500,
    msLeft: 4500,
  });
  progress.count("bytesNeeded", 30);
  progress.count("bytesSkipped", 12);
  progress.count("bytesSent", 18);
  for (const source of [0, 1]) progress.walked(source, 1);
  progress.end(63_000);
  const { share, elapsedMs, msLeft, ...traffic } = progress.at(63_000)!;
  assert.deepEqual([share, elapsedMs, msLeft], [1, 3000, 0]);
  // Ten blocks needed at first, forty at last; one was sent twice.
  assert.deepEqual(traffic, {
    bytesNeeded: 40,
    bytesSent: 27,
    bytesSkipped: 13,
    metadataBytes: 6,
  });
  assert.deepEqual(total, traffic);
});
