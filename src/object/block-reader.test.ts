import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import { component, mirror, stripe } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import type { ComponentDone, ComponentIo } from "../store/index.ts";
import { fakeMemory } from "../../test/support/fake-component.ts";
import { test } from "../../test/support/test.ts";
import { BlockReader } from "./block-reader.ts";
import { RequestTable } from "./io-request.ts";
import { Leg, LegMember, Legs } from "./legs.ts";
import { ObjectLayout } from "./object-layout.ts";
import { ScratchBlocks } from "./scratch-blocks.ts";

const SIZE_BYTES = 1 << 30;
const READ_BYTES = 512 << 20;
/** Of each simulated disk: 100 MiB/s, and 0.1 ms for each request. */
const BLOCK_MS = 1000 / (100 * 256);
const REQUEST_MS = 0.1;

/** Disks that read one thing after the other, in virtual time. */
class Disks {
  nowMs = 0;
  /** All of them wait for one processor, for which what comes over the network costs twice. */
  readonly #isBoundByProcessor: boolean;
  readonly readBlocks = new Map<string, number>();
  readonly #freeAt = new Map<string, number>();
  #due: { readonly atMs: number; readonly finish: () => void }[] = [];

  constructor(isBoundByProcessor: boolean) {
    this.#isBoundByProcessor = isBoundByProcessor;
  }

  component(componentId: string, fault: (disk: string) => boolean): ComponentIo {
    const read: ComponentIo["read"] = (_target, _at, _block, count, done, token) => {
      const worker = this.#isBoundByProcessor ? "processor" : componentId;
      const price = this.#isBoundByProcessor && componentId !== "a" ? 2 : 1;
      const startMs = Math.max(this.nowMs, this.#freeAt.get(worker) ?? 0);
      const atMs = startMs + REQUEST_MS + price * count * BLOCK_MS;
      this.#freeAt.set(worker, atMs);
      this.readBlocks.set(componentId, (this.readBlocks.get(componentId) ?? 0) + count);
      this.#due.push({ atMs, finish: () => finish(done, token) });
    };
    const finish = (done: ComponentDone, token: number): void =>
      done(token, fault(componentId) ? "read-error" : undefined);
    const never = (): never => assert.fail("the reader only reads");
    return {
      ...{ componentId, blockCount: SIZE_BYTES / BLOCK_SIZE_BYTES, read, submit: () => undefined },
      ...{ open: never, prepare: never, commit: never, extents: never, onRoom: never },
    };
  }

  /** Lets the next read end. False if there is none. */
  step(): boolean {
    this.#due.sort((a, b) => a.atMs - b.atMs);
    const next = this.#due.shift();
    if (next === undefined) return false;
    this.nowMs = next.atMs;
    next.finish();
    return true;
  }
}

interface Load {
  readonly tree: TreeNode;
  /** Whether the nearest disk alone is there to be read from. */
  readonly isAlone?: boolean;
  readonly isBoundByProcessor?: boolean;
  readonly depth: number;
  readonly requestBytes: number;
  readonly nextOffset: (index: number) => number;
  readonly fault?: (disk: string) => boolean;
}

/** Reads 512 MiB, and tells how long it took and how much each disk gave. */
function run(load: Load): { readonly ms: number; readonly blocks: ReadonlyMap<string, number> } {
  const { tree, isAlone = false, depth, requestBytes, nextOffset, fault = () => false } = load;
  const disks = new Disks(load.isBoundByProcessor === true);
  const layout = new ObjectLayout(tree);
  const legs = layout.legs.map(
    (leg, index) =>
      new Leg(
        leg,
        leg.componentIds.map((id) =>
          isAlone && index > 0
            ? new LegMember(id, undefined, "absent")
            : new LegMember(id, disks.component(id, fault), "active"),
        ),
      ),
  );
  const requests = new RequestTable();
  requests.grow(depth);
  const target = fakeMemory(requestBytes);
  let rest = READ_BYTES / requestBytes;
  let index = 0;
  const faults: unknown[] = [];
  const reader = new BlockReader(
    new Legs(legs, (id) => id === "a"),
    requests,
    new ScratchBlocks((lengthBytes) => fakeMemory(lengthBytes)),
    {
      nowMs: () => disks.nowMs,
      readDone: (request) => {
        if (request.fault !== undefined) faults.push(request.fault);
        requests.give(request);
        if (rest > 0) next();
      },
      fenced: () => assert.fail("nobody took over"),
      unreachable: () => assert.fail("all are reached"),
      damageFound: () => undefined,
      submitWanted: () => undefined,
    },
  );
  const next = (): void => {
    rest--;
    const request = requests.take("read", () => undefined, 0);
    request.setRange(nextOffset(index++), requestBytes);
    request.target = target;
    request.targetAt = 0;
    reader.read(request);
  };
  for (let i = 0; i < depth; i++) next();
  while (disks.step());
  assert.deepEqual(faults, []);
  assert.equal(requests.usedCount, 0);
  return { ms: disks.nowMs, blocks: disks.readBlocks };
}

const sequential = {
  depth: 16,
  requestBytes: 128 << 10,
  nextOffset: (i: number) => i * (128 << 10),
};
const pair = mirror([component("a"), component("b")]);

test("who reads much in a row is served by all copies: two disks give almost twice as much", () => {
  const alone = run({ tree: pair, isAlone: true, ...sequential });
  const both = run({ tree: pair, ...sequential });
  const ratio = alone.ms / both.ms;
  assert.ok(ratio > 1.8, `two copies gave ${ratio.toFixed(2)} times as much as one`);
  const three = run({
    tree: mirror([component("a"), component("b"), component("c")]),
    ...sequential,
  });
  assert.ok(alone.ms / three.ms > 2.5, `three gave ${(alone.ms / three.ms).toFixed(2)} times`);
});

test("where the processor is the bound, and copies elsewhere only cost more of it, reads stay near", () => {
  const alone = run({ tree: pair, isAlone: true, isBoundByProcessor: true, ...sequential });
  const both = run({ tree: pair, isBoundByProcessor: true, ...sequential });
  assert.ok(both.ms / alone.ms < 1.1, `${(both.ms / alone.ms).toFixed(2)} times as long`);
});

test("legs that are striped differently share the work, too", () => {
  const tree = mirror([
    stripe([component("a"), component("c")], 256),
    stripe([component("b"), component("d"), component("e")], 512),
  ]);
  const alone = run({ tree, isAlone: true, ...sequential });
  const both = run({ tree, ...sequential });
  assert.ok(alone.ms / both.ms > 1.2, `${(alone.ms / both.ms).toFixed(2)} times`);
});

test("reads here and there, and one at a time, stay at the nearest copy", () => {
  const prng = new Prng(1);
  const random = { depth: 32, requestBytes: 4096, nextOffset: () => prng.below(60_000) * 4096 };
  assert.equal(run({ tree: pair, ...random }).blocks.get("b"), undefined);
  assert.equal(run({ tree: pair, ...sequential, depth: 1 }).blocks.get("b"), undefined);
});

test("a copy with bad blocks costs another attempt, wherever the first one went", () => {
  for (const bad of ["a", "b"]) {
    const { blocks } = run({ tree: pair, ...sequential, fault: (disk) => disk === bad });
    assert.ok((blocks.get(bad === "a" ? "b" : "a") ?? 0) >= READ_BYTES / BLOCK_SIZE_BYTES);
  }
});

test("a copy that is not whole is not read", () => {
  const { blocks } = run({ tree: pair, isAlone: true, ...sequential });
  assert.equal(assertDefined(blocks.get("a"), "it was read"), READ_BYTES / BLOCK_SIZE_BYTES);
  assert.equal(blocks.get("b"), undefined);
});
