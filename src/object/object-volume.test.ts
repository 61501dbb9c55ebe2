import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Prng } from "../base/index.ts";
import { component, mirror, stripe } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import {
  benchOf,
  randomBytes,
  randomRange,
  runUntil,
  turn,
} from "../../test/support/volume-bench.ts";
import type { Bench } from "../../test/support/volume-bench.ts";

const SIZE_BYTES = 3 * 2 ** 20 + 3 * 512;

const trees: Readonly<Record<string, TreeNode>> = {
  "one component": component("a"),
  "a mirror of two": mirror([component("a"), component("b")]),
  "a mirror of differently striped legs": mirror([
    stripe([component("a"), component("b"), component("c")], 3),
    stripe([component("d"), component("e")], 256),
  ]),
};

/** Issues random requests; every read is compared with what all earlier calls must have left. */
async function exercise(bench: Bench, prng: Prng, requestCount: number): Promise<void> {
  const model = new Uint8Array(SIZE_BYTES);
  const { requests } = bench;
  const checks: Promise<void>[] = [];
  const succeed = (answer: Promise<string | undefined>): void => {
    checks.push(answer.then((fault) => assert.equal(fault, undefined)));
  };
  for (let i = 0; i < requestCount; i++) {
    const { offset, lengthBytes } = randomRange(prng, SIZE_BYTES);
    const kind = prng.below(10);
    if (kind < 4) {
      const bytes = randomBytes(prng, lengthBytes);
      model.set(bytes, offset);
      succeed(requests.write(bytes, offset));
    } else if (kind < 8) {
      const expected = model.slice(offset, offset + lengthBytes);
      const reading = requests.read(offset, lengthBytes).then(({ fault, bytes }) => {
        assert.equal(fault, undefined);
        assert.ok(Buffer.compare(bytes, expected) === 0, `read ${i} at ${offset}+${lengthBytes}`);
      });
      checks.push(reading);
    } else if (kind === 8) {
      model.fill(0, offset, offset + lengthBytes);
      succeed(
        prng.chance(0.5)
          ? requests.discard(offset, lengthBytes)
          : requests.zero(offset, lengthBytes, prng.chance(0.5)),
      );
    } else {
      succeed(requests.flush());
    }
    const limit = prng.pick([1, 4, 40]);
    await runUntil(bench.components, prng, () => requests.pendingCount < limit);
  }
  await runUntil(bench.components, prng, () => requests.pendingCount === 0);
  await Promise.all(checks);
}

for (const [name, tree] of Object.entries(trees)) {
  for (const refusal of [0, 0.3]) {
    const room = refusal > 0 ? "often without room" : "with room";
    test(`${name}, ${room}, holds what a flat array holds`, async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const prng = new Prng(seed);
        const bench = benchOf(tree, SIZE_BYTES, prng.fork());
        for (const fake of bench.components) {
          fake.refusal = refusal;
          fake.completesReadsAtOnce = seed % 3 === 0;
          fake.isInMemory = seed % 2 === 0;
        }
        await exercise(bench, prng, 300);
        const readNowCount = bench.components.reduce((sum, fake) => sum + fake.readNowCount, 0);
        assert.equal(readNowCount > 0, seed % 2 === 0);
        const refusedCount = bench.components.reduce((sum, fake) => sum + fake.refusedCount, 0);
        assert.equal(refusedCount > 0, refusal > 0);
        for (const fake of bench.components)
          assert.equal(fake.committedSequence, bench.volume.watermark, "everything is decided");
        assert.ok(bench.volume.isIdle);
      }
    });
  }
}

function oneComponent(seed = 1): Bench & { readonly prng: Prng } {
  const prng = new Prng(seed);
  return { ...benchOf(component("a"), SIZE_BYTES, prng.fork()), prng };
}

test("a flush waits for every change called before it and for none called after", async () => {
  let earlyCount = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const { requests, components, prng } = oneComponent(seed);
    const order: string[] = [];
    const note = (name: string, answer: Promise<string | undefined>): void => {
      void answer.then((fault) => order.push(fault ?? name));
    };
    note("before", requests.write(new Uint8Array(4096), 0));
    note("before", requests.write(new Uint8Array(512), 8192));
    note("flush", requests.flush());
    await turn();
    assert.equal(order.length, 0);
    for (let i = 4; i < 8; i++) note("after", requests.write(new Uint8Array(4096), i * 4096));
    await runUntil(components, prng, () => requests.pendingCount === 0);
    await turn();
    const at = order.indexOf("flush");
    assert.equal(order.filter((name) => name === "before").length, 2);
    assert.ok(at > order.lastIndexOf("before"), `${order.join(" ")} (seed ${seed})`);
    if (at < order.lastIndexOf("after")) earlyCount++;
  }
  assert.ok(earlyCount > 5, "it does not wait for what was called later");
});

test("a flush of an idle volume is answered without any I/O", async () => {
  const { requests, components } = oneComponent();
  assert.equal(await requests.flush(), undefined);
  assert.equal(components[0]!.prepareCount, 0);
});

test("a write of up to 1 MiB is one transaction, a discard one per 256 MiB", async () => {
  const prng = new Prng(1);
  const bench = benchOf(component("a"), 2 ** 40, prng.fork());
  const { requests, components } = bench;
  void requests.write(new Uint8Array(1 << 20), 1 << 20);
  void requests.discard(2 ** 30, 2 ** 30);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.equal(components[0]!.prepareCount, 5);
});

test("a write without space leaves its blocks alone, and the volume goes on", async () => {
  const { requests, components, prng } = oneComponent();
  const [fake] = components;
  const before = randomBytes(prng, 8192);
  const first = requests.write(before, 0);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.equal(await first, undefined);
  fake!.faultOf = ({ kind }) => (kind === "data" ? "no-space" : undefined);
  const refused = [requests.write(randomBytes(prng, 8192), 0), requests.write(before, 512)];
  const reading = requests.read(0, 8192);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.deepEqual(await Promise.all(refused), ["no-space", "no-space"]);
  assert.deepEqual((await reading).bytes, before);
  const discarding = requests.discard(0, 4096);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.equal(await discarding, undefined);
});

test("a bad block is an io-error for reads and for the partial writes that need it", async () => {
  const { requests, components, prng } = oneComponent();
  components[0]!.readFaultOf = (block) => (block === 0 ? "read-error" : undefined);
  const answers = Promise.all([
    requests.read(0, 4096).then(({ fault }) => fault),
    requests.write(new Uint8Array(512), 512),
    requests.discard(512, 8192),
    requests.read(4096, 4096).then(({ fault }) => fault),
    requests.write(new Uint8Array(4096), 0),
  ]);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.deepEqual(await answers, ["io-error", "io-error", "io-error", undefined, undefined]);
});

test("a bad block of one leg is read from the other", async () => {
  const prng = new Prng(3);
  const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng.fork());
  const { requests, components } = bench;
  const bytes = randomBytes(prng, 3 * 4096);
  void requests.write(bytes, 0);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  components[0]!.readFaultOf = () => "read-error";
  const reading = requests.read(512, 4096);
  const writing = requests.write(bytes.subarray(0, 512), 1024);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  const { fault, bytes: found } = await reading;
  assert.equal(fault, undefined);
  assert.deepEqual(found, bytes.slice(512, 4608));
  assert.equal(await writing, undefined);
});

test("a volume that was taken over stops: what waits is refused, nothing hangs", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { requests, components, prng, volume, stops } = oneComponent(seed);
    components[0]!.refusal = 0.2;
    const answers: (string | undefined)[] = [];
    const note = (fault: string | undefined): void => void answers.push(fault);
    for (let i = 0; i < 40; i++) {
      const { offset, lengthBytes } = randomRange(prng, SIZE_BYTES);
      if (i % 3 === 0) void requests.read(offset, lengthBytes).then(({ fault }) => note(fault));
      else void requests.write(new Uint8Array(lengthBytes), offset).then(note);
      if (i === 20) components[0]!.takeOver();
    }
    void requests.flush().then(note);
    await runUntil(components, prng, () => requests.pendingCount === 0);
    await turn();
    assert.equal(answers.length, 41);
    assert.ok(answers.every((fault) => fault === undefined || fault === "not-owner"));
    assert.ok(answers.includes("not-owner"));
    assert.equal(stops.length, 1);
    assert.ok(volume.isStopped && volume.isIdle);
    assert.equal(await requests.write(new Uint8Array(512), 0), "not-owner");
    assert.equal(await requests.flush(), "not-owner");
  }
});

test("a write that only some legs took is answered once the others are known to be stale", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed);
    const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng);
    const { requests, components, stops, failures, volume, legs } = bench;
    const fault = prng.pick(["write-error", "unreachable", "no-space"] as const);
    components[1]!.faultOf = ({ sequence }) => (sequence >= 5 ? fault : undefined);
    for (const fake of components) fake.refusal = 0.3;
    const answers: (string | undefined)[] = [];
    for (let i = 0; i < 12; i++)
      void requests.write(new Uint8Array(4096), i * 4096).then((answer) => answers.push(answer));
    await runUntil(
      components,
      prng,
      () => failures.length > 0 && components.every((one) => one.isQuiet),
    );
    await turn();
    assert.equal(answers.length, 4, "what one copy lacks is not answered");
    assert.equal(volume.watermark, 4);
    const { member } = failures[0]!;
    assert.equal(member.componentId, "b");
    member.role = "absent";
    legs.rolesChanged();
    volume.memberDropped(member);
    await runUntil(components, prng, () => requests.pendingCount === 0);
    await turn();
    assert.deepEqual(answers, Array.from({ length: 12 }));
    assert.deepEqual(stops, []);
    assert.equal(components[0]!.committedSequence, 12);
    assert.ok(components[1]!.committedSequence < 5);
  }
});

test("a write that no leg took stops the volume, unless all of them refused it for want of space", async () => {
  for (const fault of ["write-error", "unreachable", "no-space"] as const) {
    const prng = new Prng(3);
    const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng);
    for (const fake of bench.components) fake.faultOf = () => fault;
    const writing = bench.requests.write(new Uint8Array(4096), 0);
    await runUntil(bench.components, prng, () => bench.requests.pendingCount === 0);
    assert.equal(await writing, fault === "no-space" ? "no-space" : "unreachable");
    assert.equal(bench.stops.length, fault === "no-space" ? 0 : 1);
  }
});

test("a volume that is stopped by whoever hears of a full device answers its writes once", async () => {
  const prng = new Prng(32);
  const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng);
  bench.onFailure = () => bench.volume.stop("unreachable");
  bench.components[1]!.faultOf = () => "no-space";
  const writing = bench.requests.write(new Uint8Array(4096), 0);
  await runUntil(bench.components, prng, () => bench.requests.pendingCount === 0);
  assert.equal(await writing, "unreachable");
});

test("a component that answers nothing is told of as hung, and may answer late", async () => {
  const prng = new Prng(4);
  const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng);
  const { requests, components, failures, volume, legs } = bench;
  const writing = requests.write(new Uint8Array(4096).fill(9), 0);
  await runUntil([components[0]!], prng, () => components[0]!.isQuiet);
  for (let i = 0; i < 3; i++) volume.tick(4);
  assert.equal(failures.length, 0);
  volume.tick(4);
  assert.deepEqual(
    failures.map(({ fault }) => fault),
    ["hung"],
  );
  const { member } = failures[0]!;
  member.role = "absent";
  legs.rolesChanged();
  volume.memberDropped(member);
  await turn();
  assert.equal(await writing, undefined);
  const next = requests.write(new Uint8Array(4096).fill(8), 0);
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.equal(await next, undefined);
  const { bytes } = await readAll(bench, prng);
  assert.ok(bytes.every((byte) => byte === 8));
});

test("a copy that catches up and has no room for long holds up no writes", async () => {
  const prng = new Prng(5);
  const bench = benchOf(trees["a mirror of two"]!, SIZE_BYTES, prng);
  const { requests, components, volume, legs } = bench;
  const follower = legs.members[1]!;
  follower.role = "catching-up";
  legs.rolesChanged();
  components[1]!.refusal = 1;
  let isAnswered = false;
  const writing = requests.write(new Uint8Array(4096).fill(9), 0);
  void writing.then(() => (isAnswered = true));
  await runUntil([components[0]!], prng, () => components[0]!.isQuiet);
  for (let i = 0; i < 3; i++) volume.tick(4);
  await turn();
  assert.deepEqual([follower.role, isAnswered], ["catching-up", false]);
  volume.tick(4);
  assert.equal(follower.role, "absent");
  await runUntil([components[0]!], prng, () => requests.pendingCount === 0);
  assert.equal(await writing, undefined);
});

async function readAll(bench: Bench, prng: Prng): Promise<{ readonly bytes: Uint8Array }> {
  const reading = bench.requests.read(0, 4096);
  await runUntil(bench.components, prng, () => bench.requests.pendingCount === 0);
  return await reading;
}

test("nothing is read once the lease has ended", async () => {
  const prng = new Prng(1);
  const bench = benchOf(component("a"), SIZE_BYTES, prng);
  bench.leaseIsAlive = false;
  assert.equal((await bench.requests.read(0, 4096)).fault, "not-owner");
  assert.equal(bench.stops.length, 1);
});

test("closing answers what is in flight and refuses the rest", async () => {
  const { requests, components, prng, volume } = oneComponent();
  components[0]!.refusal = 0.5;
  const writes = Array.from({ length: 30 }, (_, i) =>
    requests.write(new Uint8Array(2048), i * 1024),
  );
  let isClosed = false;
  void volume.close().then(() => (isClosed = true));
  assert.equal(await requests.write(new Uint8Array(512), 0), "shutting-down");
  await runUntil(components, prng, () => isClosed);
  assert.equal(requests.pendingCount, 0);
  assert.deepEqual(
    await Promise.all(writes),
    writes.map(() => undefined),
  );
});

test("waiting copies are bounded by asking front ends to hold back", async () => {
  const { requests, components, prng, volume } = oneComponent();
  components[0]!.refusal = 1;
  let count = 0;
  while (volume.hasRoom()) {
    void requests.write(new Uint8Array(1 << 20), (count++ % 3) << 20);
    assert.ok(count < 100, "a volume that refuses everything has room for ever");
  }
  let roomCount = 0;
  volume.onRoom(() => roomCount++);
  await turn();
  assert.equal(roomCount, 0);
  components[0]!.refusal = 0;
  await runUntil(components, prng, () => requests.pendingCount === 0);
  await turn();
  assert.equal(roomCount, 1);
  assert.ok(volume.hasRoom());
});

test("extents are merged, cut to the range, and as many as were asked for", async () => {
  for (const tree of [trees["one component"]!, stripe([component("a"), component("b")], 2)]) {
    const prng = new Prng(1);
    const { volume, requests, components } = benchOf(tree, SIZE_BYTES, prng);
    void requests.write(new Uint8Array(6 * 4096), 3 * 4096);
    void requests.zero(9 * 4096, 4096, true);
    await runUntil(components, prng, () => requests.pendingCount === 0);
    const told = async (offset: number, lengthBytes: number, limit: number): Promise<string[]> => {
      const extents = await volume.extents(offset, lengthBytes, limit);
      return extents.map((one) => `${one.kind} ${one.offset / 512}+${one.lengthBytes / 512}`);
    };
    assert.deepEqual(await told(0, SIZE_BYTES, 99), [
      "hole 0+24",
      "data 24+48",
      "allocated-zero 72+8",
      `hole 80+${SIZE_BYTES / 512 - 80}`,
    ]);
    assert.deepEqual(await told(25 * 512, 2 * 512, 99), ["data 25+2"]);
    assert.deepEqual(await told(0, SIZE_BYTES, 2), ["hole 0+24", "data 24+48"]);
  }
});

test("requests outside of the volume or between sectors are bugs of the caller", () => {
  const { volume } = oneComponent();
  const done = (): void => {};
  const source = new Uint8Array(8192);
  assert.throws(() => volume.write(source, 0, 512, SIZE_BYTES, done, 0), /within the volume/);
  assert.throws(() => volume.write(source, 0, 100, 0, done, 0), /sectors/);
  assert.throws(() => volume.discard(-512, 512, done, 0), /within the volume/);
  assert.throws(() => volume.write(source, 8192, 512, 0, done, 0), /too short/);
});

test("changes wait until everybody who held them back has let go", async () => {
  const prng = new Prng(31);
  const bench = benchOf(mirror([component("a"), component("b")]), SIZE_BYTES, prng);
  const { volume, requests, components } = bench;
  await volume.pause();
  await volume.pause();
  const writing = requests.write(randomBytes(prng, 4096), 0);
  volume.resume();
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(
    components.every((one) => one.isQuiet),
    "nothing was sent",
  );
  volume.resume();
  await runUntil(components, prng, () => requests.pendingCount === 0);
  assert.equal(await writing, undefined);
});
