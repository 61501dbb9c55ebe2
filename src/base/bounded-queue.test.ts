import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { AssertionError, BoundedQueue } from "./index.ts";

interface Model {
  readonly capacity: number;
  readonly items: number[];
}

class Offer implements fc.Command<Model, BoundedQueue<number>> {
  readonly #item: number;
  constructor(item: number) {
    this.#item = item;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, queue: BoundedQueue<number>): void {
    const hasRoom = model.items.length < model.capacity;
    assert.equal(queue.offer(this.#item), hasRoom);
    if (hasRoom) model.items.push(this.#item);
    compare(model, queue);
  }
  toString(): string {
    return `offer(${this.#item})`;
  }
}

class Take implements fc.Command<Model, BoundedQueue<number>> {
  check(): boolean {
    return true;
  }
  run(model: Model, queue: BoundedQueue<number>): void {
    assert.equal(queue.take(), model.items.shift());
    compare(model, queue);
  }
  toString(): string {
    return "take()";
  }
}

function compare(model: Model, queue: BoundedQueue<number>): void {
  assert.equal(queue.size, model.items.length);
  assert.equal(queue.isFull, model.items.length === model.capacity);
  assert.equal(queue.peek(), model.items[0]);
}

test("a bounded queue behaves as an array with a limit does", () => {
  const commands = fc.commands([fc.nat(9).map((item) => new Offer(item)), fc.constant(new Take())]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), commands, (capacity, steps) => {
      const setup = (): { model: Model; real: BoundedQueue<number> } => ({
        model: { capacity, items: [] },
        real: new BoundedQueue<number>(capacity),
      });
      fc.modelRun(setup, steps);
    }),
  );
});

test("a bounded queue needs a positive whole capacity", () => {
  for (const capacity of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => new BoundedQueue(capacity), AssertionError);
  }
});
