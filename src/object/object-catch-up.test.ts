import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, marks } from "../base/index.ts";
import { component, componentsOf, legsOf, stripe } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import { componentId, MirrorWorld as World, TREES } from "../../test/support/mirror-world.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes } from "../../test/support/volume-bench.ts";
import { ObjectLayout } from "./object-layout.ts";
import { ALL_RULES } from "./owner-world.ts";

test("what a returning copy missed is sent, and nothing else", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 5);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const bytes = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 5; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const missed = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 3; i++) assert.equal(await requests.write(missed, 2 << 20), undefined);
    assert.equal(await world.state("b"), "stale");
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20);
    assert.deepEqual(world.events, ["component-stale", "component-active"]);
    host.way.cut();
    // Contents that the other side has, elsewhere.
    assert.equal(await requests.write(bytes, 3 << 20), undefined);
    assert.equal(await requests.write(bytes, 2 << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20, "nothing more was sent");
    await assertDefined(world.owner, "no owner").close();
  });
});

for (const changesMax of [undefined, 16]) {
  const where = changesMax === undefined ? "within the log of changes" : "beyond it";
  test(`a component of any striping is sent what it missed of its own, and no more, ${where}`, async () => {
    const tree = assertDefined(TREES["legs that are striped differently"], "no such tree");
    for (const letter of ["a", "c"]) {
      const world = new World(tree, 9, ALL_RULES, changesMax);
      await world.simulation.run(async () => {
        await world.build();
        const requests = await world.take("x");
        for (let i = 0; i < 5; i++) await requests.write(randomBytes(world.prng, 1 << 20), i << 20);
        const host = assertDefined(world.hosts.get(letter), "no host");
        host.way.cut();
        // Sixteen blocks of every thirty-two, more writes than the shorter log remembers.
        for (let i = 0; i < 40; i++)
          await requests.write(randomBytes(world.prng, 1 << 16), i << 17);
        host.way.heal();
        await world.until(async () => (await world.state(letter)) === "active");
        const missed = Array.from({ length: 40 }, (_none, i) => i << 5);
        const own = missed.filter((block) => holds(tree, letter, block)).length;
        assert.equal(world.catchUp.bytesSent, own << 16, `${letter} missed ${own} writes`);
        assert.ok(own === 40 || (own > 10 && own < 30));
        await assertDefined(world.owner, "no owner").close();
        await world.assertEqualLegs(letter);
      });
    }
  });
}

/** Whether a block lies in the component of this letter. */
function holds(tree: TreeNode, letter: string, block: number): boolean {
  const index = legsOf(tree).findIndex((leg) =>
    componentsOf(leg).some((one) => one.componentId === componentId(letter)),
  );
  const leg = assertDefined(new ObjectLayout(tree).legs[index], "no such leg");
  return leg.componentIds[leg.columnOf(block)] === componentId(letter);
}

test("a component of a stripe that is wider than its object holds nothing, and lacks nothing", async () => {
  const columns = [component(componentId("a")), component(componentId("b"), 0)];
  const world = new World(stripe(columns, 1 << 20), 12);
  await world.simulation.run(async () => {
    await world.build();
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const requests = await world.take("x");
    await world.work(requests, 20);
    assert.equal(await world.state("b"), "stale", "nobody has heard of it");
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    await world.work(requests, 20);
    await world.verify(requests, "all of it is in the other one");
    await assertDefined(world.owner, "no owner").close();
  });
});

test("a content that a returning copy lacks in many places travels once", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 6);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const bytes = new Uint8Array(1 << 20).fill(7);
    for (let i = 0; i < 4; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, BLOCK_SIZE_BYTES);
    assert.equal(world.catchUp.bytesSkipped, (4 << 20) - BLOCK_SIZE_BYTES);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("repeated content");
  });
});

test("a copy that is dropped while it catches up holds up nobody on its device, and is sent no more", async () => {
  const expectation = marks.expect("a dropped copy was told to forget what is undecided");
  const world = new World(TREES["three copies"]!, 7);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const { way, device } = assertDefined(world.hosts.get("b"), "no host");
    way.cut();
    for (let i = 0; i < 3; i++)
      assert.equal(await requests.write(randomBytes(world.prng, 1 << 20), i << 20), undefined);
    assert.equal(await world.state("b"), "stale");
    // What it is offered waits, and the writes that reach it fail when they have.
    let offered = 0;
    let applied = 0;
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const sentBefore: number[] = [];
    const whole = { offer: way.offer.bind(way), apply: way.apply.bind(way) };
    const [prepare, begin] = [way.prepare.bind(way), way.beginCatchUp.bind(way)];
    way.beginCatchUp = async (...call) => {
      sentBefore.push(applied);
      return await begin(...call);
    };
    way.offer = async (...call) => {
      offered++;
      await gate;
      return await whole.offer(...call);
    };
    way.apply = async (...call) => {
      applied++;
      await whole.apply(...call);
    };
    way.prepare = (transaction, done, token) =>
      prepare(transaction, () => done(token, "write-error"), token);
    way.heal();
    await world.until(async () => offered > 0);
    assert.equal(await requests.write(randomBytes(world.prng, 4096), 4 << 20), undefined);
    await world.until(async () => device?.undecided().length === 0);
    way.prepare = prepare;
    open();
    await world.until(async () => (await world.state("b")) === "active");
    assert.deepEqual(sentBefore, [0, 0, 0, 0], "begun, told to forget twice, and begun anew");
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("in the end");
  });
  expectation.verify();
});

test("a copy whose catch-up fails forgets what is undecided before it is tried again", async () => {
  const world = new World(TREES["three copies"]!, 8);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const [a, b] = ["a", "b"].map((letter) => assertDefined(world.hosts.get(letter), "no host"));
    const { way, device } = b!;
    way.cut();
    assert.equal(await requests.write(randomBytes(world.prng, 1 << 20), 0), undefined);
    const calls: string[] = [];
    const whole = { open: way.open.bind(way), begin: way.beginCatchUp.bind(way) };
    way.open = async (...call) => {
      calls.push("open");
      return await whole.open(...call);
    };
    way.beginCatchUp = async (...call) => {
      calls.push("begin");
      return await whole.begin(...call);
    };
    let fail = (): void => undefined;
    const failure = new Promise<never>((_resolve, reject) => {
      fail = () => reject(new CodedError({ code: "unreachable", message: "a source has gone" }));
    });
    const offer = way.offer.bind(way);
    let offered = 0;
    way.offer = (...call) => (offered++ < 4 ? failure : offer(...call));
    way.heal();
    await world.until(async () => offered > 0);
    // One copy does not answer: the write is undecided when the catch-up fails.
    const prepare = a!.way.prepare.bind(a!.way);
    let answer = (): void => undefined;
    a!.way.prepare = (transaction, done, token) =>
      prepare(transaction, (one, fault) => (answer = () => done(one, fault)), token);
    const writing = requests.write(randomBytes(world.prng, 4096), 4 << 20);
    await world.until(async () => device?.undecided().length === 1);
    calls.length = 0;
    offered = 4;
    fail();
    await world.until(async () => calls.length > 0);
    a!.way.prepare = prepare;
    answer();
    assert.equal(await writing, undefined);
    await world.until(async () => (await world.state("b")) === "active");
    assert.deepEqual(calls.slice(0, 3), ["begin", "open", "begin"]);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("in the end");
  });
});

test("it is told how many attempts to bring a copy back have failed, and why the last one did", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 10);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const owner = assertDefined(world.owner, "no owner");
    const { way } = assertDefined(world.hosts.get("b"), "no host");
    const whole = way.offer.bind(way);
    way.cut();
    assert.equal(await requests.write(randomBytes(world.prng, 1 << 20), 0), undefined);
    way.offer = () => Promise.reject(new CodedError({ code: "message-invalid", message: "no" }));
    way.heal();
    const failed = (): string | undefined =>
      owner.state.components.find((one) => one.componentId === componentId("b"))?.failedAttempt;
    const seen = new Set<string>();
    await world.until(async () => {
      const now = failed();
      if (now !== undefined) seen.add(now.replace(/[:(].*/, ""));
      return seen.size >= 3;
    });
    assert.match(failed() ?? "", /with: .*no/);
    way.offer = whole;
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(failed(), undefined);
    assert.ok(seen.has("3 attempts have failed, the last one with"), [...seen].join("; "));
    await owner.close();
  });
});

test("changes are held back while a returning copy is compared for as long as the slowest answer takes", async () => {
  const SLOW_MS = 500;
  const world = new World(TREES["a mirror of two with a witness"]!, 9);
  await world.simulation.run(async () => {
    await world.build();
    const { clock } = world.simulation;
    const requests = await world.take("x");
    const asked: string[] = [];
    for (const [letter, { way }] of world.hosts) {
      const digests = way.digests.bind(way);
      way.digests = async (...call) => {
        asked.push(letter);
        await new Promise<void>((resolve) => void clock.after(SLOW_MS, resolve));
        return await digests(...call);
      };
    }
    const { way } = assertDefined(world.hosts.get("b"), "no host");
    way.cut();
    assert.equal(await requests.write(randomBytes(world.prng, 1 << 20), 0), undefined);
    way.heal();
    const copy = { isBack: false };
    let slowestMs = 0;
    const write = async (): Promise<void> => {
      while (!copy.isBack) {
        const begunMs = clock.nowMs();
        const offset = world.prng.below(1280) * BLOCK_SIZE_BYTES;
        const bytes = randomBytes(world.prng, BLOCK_SIZE_BYTES);
        assert.equal(await requests.write(bytes, offset), undefined);
        slowestMs = Math.max(slowestMs, clock.nowMs() - begunMs);
      }
    };
    const writing = Array.from({ length: 8 }, () => write());
    await world.until(async () => (await world.state("b")) === "active");
    copy.isBack = true;
    await Promise.all(writing);
    assert.deepEqual(asked.slice(0, 2).toSorted(), ["a", "b"], "most of it is home before");
    assert.ok(slowestMs >= SLOW_MS && slowestMs < 1.5 * SLOW_MS, `${slowestMs} ms`);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("in the end");
  });
});

test("an owner that gives up does not wait for the copies that are being made; the next one makes them", async () => {
  const expectation = marks.expect("a catch-up ended because its owner leaves");
  const world = new World(TREES["three copies"]!, 12);
  await world.simulation.run(async () => {
    await world.build();
    // A block a second: as slow as copying gets beside others who use the host.
    const { clock } = world.simulation;
    let turns = 0;
    world.pace = {
      turn: () => {
        turns++;
        return new Promise((resolve) => void clock.after(1000, () => resolve(1)));
      },
    };
    const requests = await world.take("x");
    const { way, device } = assertDefined(world.hosts.get("b"), "no host");
    way.cut();
    for (let i = 0; i < 4; i++)
      assert.equal(await requests.write(randomBytes(world.prng, 1 << 20), i << 20), undefined);
    way.heal();
    await world.until(async () => turns > 2);
    const begun = clock.nowMs();
    await assertDefined(world.owner, "no owner").close();
    assert.ok(clock.nowMs() - begun < 5000, `given up after ${clock.nowMs() - begun} ms`);
    assert.equal(await world.state("b"), "stale");
    assert.deepEqual(device?.undecided(), []);
    world.pace = undefined;
    await world.take("y");
    await world.until(async () => (await world.state("b")) === "active");
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("in the end");
  });
  expectation.verify();
});
