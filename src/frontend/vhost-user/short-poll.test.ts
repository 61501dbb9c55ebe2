import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { ShortPoll } from "./short-poll.ts";

const GLANCE_MS = 0.001;
const LOOK_MS = 0.02;

/** Time passes with every glance at the clock; a driver asks again after so much of it. */
class World {
  ms = 0;
  lookedMs = 0;
  readonly poll = new ShortPoll({ nowMs: () => (this.ms += GLANCE_MS) });
  readonly queue = { hasMore: false };

  /** One turn of a queue whose driver asks again after `afterMs`. */
  turn(afterMs: number, queue: { hasMore: boolean } = this.queue): boolean {
    this.poll.begin(queue);
    return this.look(afterMs, queue);
  }

  look(afterMs: number, queue: { hasMore: boolean } = this.queue): boolean {
    const startMs = this.ms;
    Object.defineProperty(queue, "hasMore", {
      configurable: true,
      get: () => this.ms - startMs >= afterMs,
    });
    const hasCome = this.poll.awaits(queue);
    this.lookedMs += this.ms - startMs;
    return hasCome;
  }
}

test("a driver that asks again soon is waited for, turn after turn", () => {
  const world = new World();
  world.turn(0.005);
  for (let i = 0; i < 100; i++) assert.ok(world.turn(0.005));
});

test("a driver that does not is left alone for longer and longer, and nothing is looked at", () => {
  const world = new World();
  for (let i = 0; i < 20_000; i++) world.turn(Infinity);
  // 1 + 2 + 4 ... turns between looks, and then a look in a thousand.
  const looks = world.lookedMs / LOOK_MS;
  assert.ok(looks > 10 && looks < 40, `${looks} looks`);
  let turns = 0;
  while (!world.turn(0.005)) turns++;
  assert.ok(turns <= 1024);
  assert.ok(world.turn(0.005), "and then it is waited for again");
});

test("what came while this thread did not run is no sign of a free core", () => {
  const world = new World();
  world.turn(0.005);
  // The clock is looked at after the driver has asked: the look had ended long before.
  const asleep = { hasMore: false };
  let reads = 0;
  Object.defineProperty(asleep, "hasMore", {
    get: () => {
      if (++reads % 32 === 10) world.ms += 5;
      return reads % 32 === 10;
    },
  });
  world.poll.begin(asleep);
  world.poll.begin(asleep);
  assert.ok(world.poll.awaits(asleep));
  world.poll.begin(asleep);
  assert.ok(!world.poll.awaits(asleep), "the next turn is not looked at");
});

test("the thread's other work gets its turn, however fast a driver is", () => {
  const world = new World();
  world.turn(0.005);
  world.poll.begin(world.queue);
  let looks = 0;
  while (world.look(0.005)) looks++;
  assert.ok(looks > 3 && looks < 20, `${looks} looks in one turn`);
});

test("where two queues are at work nobody looks", () => {
  const world = new World();
  const other = { hasMore: false };
  for (let i = 0; i < 10; i++) {
    assert.ok(!world.turn(0.005));
    assert.ok(!world.turn(0.005, other));
  }
  assert.ok(world.lookedMs === 0);
});
