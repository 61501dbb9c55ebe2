import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { InflightRegion } from "./inflight-region.ts";
import { VhostViolation } from "./violation.ts";

const ENTRIES = 8;
const WORDS = InflightRegion.bytesFor(ENTRIES) / 2;

class Killed extends Error {}

/** Memory whose owner is killed at its write number `writesMax`. */
function killedAfter(words: Uint16Array, writesMax: number): Uint16Array {
  let writes = 0;
  return new Proxy(words, {
    get: (target, name) => Reflect.get(target, name, target) as unknown,
    set: (target, name, value) => {
      if (++writes > writesMax) throw new Killed();
      return Reflect.set(target, name, value, target);
    },
  });
}

type Step = { readonly take: number } | { readonly give: readonly number[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ take: fc.integer({ min: 0, max: ENTRIES - 1 }) }),
  fc.record({ give: fc.array(fc.integer({ min: 0, max: ENTRIES - 1 }), { maxLength: 4 }) }),
);

/** A server of the queue, and what its driver can see. */
class Server {
  readonly words: Uint16Array;
  /** In order of taking, without those whose answers the driver can see. */
  underWay: number[] = [];
  /** Its taking was not finished when the server was killed. */
  half: number | undefined;
  usedIndex: number;

  constructor(words: Uint16Array, usedIndex: number) {
    this.words = words;
    this.usedIndex = usedIndex;
  }

  run(steps: readonly Step[], writesMax: number): void {
    const region = new InflightRegion(killedAfter(this.words, writesMax), ENTRIES);
    region.settle(this.usedIndex);
    for (const it of steps) {
      if ("take" in it) this.#take(region, it.take);
      else this.#give(region, it.give);
    }
  }

  #take(region: InflightRegion, head: number): void {
    if (this.underWay.includes(head)) return;
    this.half = head;
    region.taken(head);
    this.half = undefined;
    this.underWay.push(head);
  }

  #give(region: InflightRegion, heads: readonly number[]): void {
    const batch = [...new Set(heads)].filter((head) => this.underWay.includes(head));
    for (const head of batch) region.given(head);
    this.usedIndex = (this.usedIndex + batch.length) & 0xffff;
    this.underWay = this.underWay.filter((head) => !batch.includes(head));
    region.published(this.usedIndex);
  }
}

test("killed at any write, exactly what was not answered is carried out again, in order", () => {
  const property = fc.property(
    fc.array(step, { maxLength: 20 }),
    fc.integer({ min: 0, max: 0xffff }),
    (steps, usedIndex) => {
      for (let writesMax = 3; ; writesMax++) {
        const server = new Server(new Uint16Array(WORDS), usedIndex);
        let isKilled = false;
        try {
          server.run(steps, writesMax);
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
          isKilled = true;
        }
        const next = new InflightRegion(server.words, ENTRIES);
        const found = next.settle(server.usedIndex);
        if (found === undefined) continue;
        const { half } = server;
        const isHalfThere = half !== undefined && found.at(-1) === half;
        assert.deepEqual(found, isHalfThere ? [...server.underWay, half] : server.underWay);
        if (!isKilled) return;
      }
    },
  );
  fc.assert(property, { numRuns: 60 });
});

test("server after server keeps requests and their order", () => {
  const lives = fc.array(
    fc.record({
      steps: fc.array(step, { maxLength: 12 }),
      writesMax: fc.integer({ min: 3, max: 80 }),
    }),
    { minLength: 2, maxLength: 5 },
  );
  const property = fc.property(lives, (all) => {
    const server = new Server(new Uint16Array(WORDS), 0);
    server.run([], Infinity);
    for (const { steps, writesMax } of all) {
      try {
        server.run(steps, writesMax);
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
      const found = new InflightRegion(server.words, ENTRIES).settle(server.usedIndex);
      const { half } = server;
      if (half !== undefined && found?.at(-1) === half) server.underWay.push(half);
      server.half = undefined;
      assert.deepEqual(found, server.underWay);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("memory that nobody has used says nothing", () => {
  assert.equal(new InflightRegion(new Uint16Array(WORDS), ENTRIES).settle(17), undefined);
});

test("memory that a front end has spoilt ends its connection, and nothing else", () => {
  const property = fc.property(
    fc.uint16Array({ minLength: WORDS, maxLength: WORDS }),
    fc.integer({ min: 0, max: 0xffff }),
    (words, usedIndex) => {
      // What random words would seldom have.
      words.set([1, ENTRIES], 4);
      try {
        const found = new InflightRegion(words, ENTRIES).settle(usedIndex);
        assert.ok(found !== undefined && found.every((head) => head < ENTRIES));
        assert.equal(new Set(found).size, found.length);
      } catch (error) {
        assert.ok(error instanceof VhostViolation, String(error));
      }
    },
  );
  fc.assert(property, { numRuns: 500 });
});
