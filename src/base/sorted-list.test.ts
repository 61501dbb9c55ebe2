import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "./prng.ts";
import { SortedList } from "./sorted-list.ts";

interface Named {
  readonly name: string;
  readonly id: number;
}

const nameOf = ({ name }: Named): string => name;

test("a list that changes is what sorting would have made of it, and what was seen stays", () => {
  const prng = new Prng(11);
  let id = 0;
  const make = (): Named => ({ name: `n${prng.below(40)}`, id: id++ });
  const model = Array.from({ length: 50 }, make);
  const list = new SortedList(nameOf, model);
  let seen = list.values;
  let seenWas = [...seen];
  for (let step = 0; step < 2000; step++) {
    if (model.length > 0 && prng.chance(0.5)) {
      const [gone] = model.splice(prng.below(model.length), 1);
      list.remove(gone!);
    } else {
      const one = make();
      model.push(one);
      list.add(one);
    }
    assert.deepEqual(seen, seenWas);
    if (prng.chance(0.3)) {
      const { values } = list;
      assert.deepEqual(new Set(values), new Set(model));
      assert.ok(values.every((one, i) => i === 0 || values[i - 1]!.name <= one.name));
      assert.equal(list.values, values);
      seen = values;
      seenWas = [...seen];
    }
  }
});

test("of equal values the one that was meant goes, and one that is not there is a bug", () => {
  const [a, b, c] = [0, 1, 2].map((id) => ({ name: "same", id }));
  const list = new SortedList(nameOf, [a!, b!, c!]);
  list.remove(b!);
  assert.deepEqual(list.values, [a, c]);
  assert.throws(() => list.remove(b!), /is in it/);
});
