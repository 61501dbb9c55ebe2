import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { EmbeddedDirectory, putHost, readRotation, removeHost } from "../../cluster/index.ts";
import { fingerprintOf, makeAuthority } from "../../platform/index.ts";
import type { CertifiedKey } from "../../platform/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import { AuthorityKeeper } from "./authority-keeper.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import type { NewEvent } from "../api/event-ring.ts";
import { JoinDesk } from "./join-desk.ts";
import { readAuthorities, readTlsFolder, writeAuthority, writeTlsFolder } from "./tls-folder.ts";
import type { HostTls } from "./tls-folder.ts";

const CLUSTER = "c".repeat(32);
const NAMES = ["h1", "h2", "h3"];
const LONG_MS = 15_000;
const CALL_MS = 5000;
const REREAD_MS = 20;
const log = { write: () => undefined };

/** Dies at a chosen call, before it has happened or after, and answers nothing from then on. */
class Mortal {
  callsLeft = Infinity;
  isAfter = false;
  onDeath: () => void = () => {};

  async step<T>(act: () => Promise<T>): Promise<T> {
    if (this.callsLeft <= 0) return await new Promise<never>(() => {});
    const isLast = --this.callsLeft === 0;
    if (isLast && !this.isAfter) return await this.#die();
    const answer = await act();
    return isLast ? await this.#die() : answer;
  }

  #die(): Promise<never> {
    this.onDeath();
    return new Promise<never>(() => {});
  }
}

class Host {
  readonly world: World;
  readonly hostId: string;
  readonly folder: string;
  readonly mortal: Mortal = new Mortal();
  tls!: HostTls;
  desk!: JoinDesk;
  keeper!: AuthorityKeeper;
  refusal: string | undefined;
  rereadCount = 0;
  isUp = false;

  constructor(world: World, name: string, folder: string) {
    this.world = world;
    this.hostId = name.slice(1).repeat(32);
    this.folder = folder;
  }

  /** As the process does, from what is in its folder. */
  start(): void {
    const { directory: whole, clock, events } = this.world;
    const directory = mortalDirectory(whole, this.mortal);
    this.tls = readTlsFolder(this.folder, CLUSTER, clock.wallMs());
    const world = { directory, clusterId: CLUSTER, clock, events, tls: this.tls, log };
    const text = { directoryText: () => "" };
    const authorities = (): readonly CertifiedKey[] => readAuthorities(this.folder);
    this.desk = new JoinDesk({ ...world, authorities, clusterKeyText: () => undefined, ...text });
    const certificates = new CertificateKeeper({
      ...{ ...world, desk: this.desk, hostName: this.hostId, folder: this.folder },
      others: { call: (to, _method, _path, body) => this.world.renew(to, body, this.hostId) },
    });
    this.keeper = new AuthorityKeeper({
      ...{ ...world, folder: this.folder, certificates },
      mayUse: () => this.mortal.step(async () => this.#mayUse()),
      reread: () => this.mortal.step(() => this.#reread()),
    });
    this.isUp = true;
    this.keeper.start();
  }

  crash(): void {
    this.isUp = false;
    this.keeper.close();
  }

  /** What is in its folder now, read as at a start. */
  get stored(): HostTls {
    return readTlsFolder(this.folder, CLUSTER, this.world.clock.wallMs());
  }

  /** As long as etcd takes to start again, without which the others are to be a majority. */
  async #reread(): Promise<void> {
    const { world } = this;
    this.rereadCount++;
    world.rereading++;
    world.rereadingMost = Math.max(world.rereadingMost, world.rereading);
    await new Promise<void>((resolve) => void world.clock.after(REREAD_MS, resolve));
    world.rereading--;
  }

  #mayUse(): void {
    if (this.refusal === undefined) return;
    throw new CodedError({ code: "directory-refused", message: this.refusal });
  }
}

function mortalDirectory(directory: Directory, mortal: Mortal): Directory {
  return {
    get: (key) => mortal.step(() => directory.get(key)),
    list: (prefix) => mortal.step(() => directory.list(prefix)),
    stamp: (prefix) => mortal.step(() => directory.stamp(prefix)),
    transact: (conditions, writes) => mortal.step(() => directory.transact(conditions, writes)),
    watch: (...all) => directory.watch(...all),
    grantLease: (ttlMs) => directory.grantLease(ttlMs),
    keepAlive: (lease) => directory.keepAlive(lease),
    revokeLease: (lease) => directory.revokeLease(lease),
    close: () => directory.close(),
  };
}

class World {
  readonly simulation: Simulation;
  readonly directory: EmbeddedDirectory;
  readonly clock: Clock;
  readonly events: { add(event: NewEvent): unknown };
  readonly kinds: string[] = [];
  rereading = 0;
  rereadingMost = 0;
  readonly first: CertifiedKey;
  readonly hosts: readonly Host[];

  static async make(t: TestContext, names = NAMES): Promise<World> {
    const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
    const simulation = new Simulation({ seed: 1, turn });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await simulation.run(EmbeddedDirectory.open(store, machine.clock));
    const world = new World(t, simulation, directory, machine.clock, names);
    for (const name of names) await world.#enter(name);
    return world;
  }

  private constructor(
    t: TestContext,
    simulation: Simulation,
    directory: EmbeddedDirectory,
    time: Clock,
    names: readonly string[],
  ) {
    this.simulation = simulation;
    this.directory = directory;
    const startMs = Date.now();
    this.clock = {
      nowMs: () => time.nowMs(),
      wallMs: () => startMs + time.nowMs(),
      after: (ms, call) => time.after(ms, call),
    };
    this.events = { add: ({ kind }) => void this.kinds.push(kind) };
    this.first = makeAuthority(CLUSTER, startMs);
    // In memory where there is room for it: what is written is flushed each time.
    const memory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
    const folder = mkdtempSync(join(memory, "drystone-authority-"));
    t.after(() => rmSync(folder, { recursive: true }));
    this.hosts = names.map((name) => {
      const host = new Host(this, name, join(folder, name));
      const { hostId } = host;
      if (name === names[0]) writeAuthority(host.folder, this.first);
      const made = { clusterId: CLUSTER, hostId, addresses: ["10.0.0.1"] };
      writeTlsFolder(host.folder, this.first, made, startMs);
      return host;
    });
  }

  async #enter(name: string): Promise<void> {
    const hostId = name.slice(1).repeat(32);
    const at = { managementAddress: "10.0.0.1:1", storageAddress: "10.0.0.1:2" };
    const record = { hostId, name, ...at, managementLinkAddress: "", faultDomain: name };
    await this.simulation.run(putHost(this.directory, CLUSTER, record));
  }

  startAll(): void {
    for (const host of this.hosts) host.start();
  }

  async renew(to: string, body: object | undefined, asking: string): Promise<unknown> {
    const host = this.hosts.find(({ hostId }) => hostId === to);
    const failed = new CodedError({ code: "connection-failed", message: "it is down" });
    if (host?.isUp !== true) throw failed;
    // One that dies while it is asked.
    const silence = new Promise<never>((_resolve, reject) => {
      this.clock.after(CALL_MS, () => reject(failed));
    });
    return await Promise.race([host.desk.renew(body, asking), silence]);
  }

  async pass(ms: number): Promise<void> {
    await this.simulation.run(new Promise<void>((resolve) => void this.clock.after(ms, resolve)));
  }

  async rotate(host: Host, isHeld = false): Promise<void> {
    await this.simulation.run(host.keeper.rotate(isHeld));
  }

  async step(): Promise<string | undefined> {
    return (await this.simulation.run(readRotation(this.directory, CLUSTER)))?.rotation.step;
  }

  /** Whatever is in their folders at this moment, started or not. */
  checkEachBelievesEach(): void {
    const all = this.hosts.map(({ stored }) => stored);
    const shown = all.map(({ trust }) => new X509Certificate(trust.credentials.certificatePem));
    for (const { trust } of all) {
      const isEach = shown.every((certificate) => trust.isSigned(certificate));
      assert.ok(isEach, "two hosts do not believe each other");
    }
  }

  checkReplaced(): void {
    const before = fingerprintOf(new X509Certificate(this.first.certificatePem));
    const found = this.hosts.map(({ stored }) => fingerprintOf(stored.trust.authority));
    assert.equal(new Set(found).size, 1);
    assert.notEqual(found[0], before);
    const { caPem } = this.hosts[0]!.stored.trust.credentials;
    assert.equal(caPem.match(/BEGIN/g)?.length, 1);
  }
}

test("the authority is replaced step by step, and each believes each at every moment", async (t) => {
  const world = await World.make(t);
  world.startAll();
  const [first] = world.hosts;
  const steps = new Set<string | undefined>();
  const rotated = world.rotate(first!);
  await rotated;
  for (let i = 0; i < 100 && (await world.step()) !== "done"; i++) {
    world.checkEachBelievesEach();
    steps.add(await world.step());
    await world.pass(1);
  }
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  world.checkReplaced();
  assert.equal(world.rereadingMost, 1);
  // Where etcd would have been started again: to believe both, and to believe one.
  assert.deepEqual(
    new Set(world.hosts.map(({ rereadCount }) => rereadCount >= 2)),
    new Set([true]),
  );
  assert.equal(world.kinds.filter((kind) => kind === "authority-rotated").length, 1);
  assert.equal(first!.keeper.view(), undefined);
  // The key of the new one is where the old one's was, and hosts join by it.
  assert.ok(first!.desk.hasAuthority());
  assert.equal(readAuthorities(first!.folder).length, 1);
  // And once more, on another host than the one that had the key.
  await world.rotate(world.hosts[1]!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  assert.ok(world.hosts[1]!.desk.hasAuthority());
  assert.ok(!first!.desk.hasAuthority(), "a key that is not believed any more signs nothing");
});

test("a host that has not taken a step is waited for, and named", async (t) => {
  const world = await World.make(t);
  world.startAll();
  const [first, , third] = world.hosts;
  third!.crash();
  await world.rotate(first!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "trust");
  assert.deepEqual(first!.keeper.view()?.waitsFor, [{ host: "h3" }]);
  world.checkEachBelievesEach();
  third!.start();
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  world.checkReplaced();
});

test("a host that does not come back holds nothing up once it was removed", async (t) => {
  const world = await World.make(t);
  world.startAll();
  const [first, second, third] = world.hosts;
  third!.crash();
  await world.rotate(first!);
  await world.pass(LONG_MS);
  const gone = { hostId: third!.hostId, nowMs: 1 };
  await world.simulation.run(removeHost(world.directory, CLUSTER, gone));
  await world.rotate(first!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  const shown = new X509Certificate(third!.stored.trust.credentials.certificatePem);
  assert.ok(!second!.tls.trust.isSigned(shown), "what only the old one has signed is refused");
});

test("it stays where both are believed for as long as it is held", async (t) => {
  const world = await World.make(t);
  world.startAll();
  await world.rotate(world.hosts[0]!, true);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "trust");
  assert.deepEqual(world.hosts[1]!.keeper.view()?.waitsFor, []);
  const { caPem } = world.hosts[1]!.stored.trust.credentials;
  assert.equal(caPem.match(/BEGIN/g)?.length, 2);
  // From any host.
  await world.rotate(world.hosts[2]!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  world.checkReplaced();
});

test("a directory that does not believe the new one keeps the old certificate in use", async (t) => {
  const world = await World.make(t);
  world.startAll();
  const [first, second] = world.hosts;
  second!.refusal = "it does not believe it";
  const before = second!.stored.trust.credentials.certificatePem;
  await world.rotate(first!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "issue");
  assert.equal(second!.stored.trust.credentials.certificatePem, before);
  const waitsFor = [{ host: "h2", reason: "it does not believe it" }];
  assert.deepEqual(first!.keeper.view()?.waitsFor, waitsFor);
  second!.refusal = undefined;
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
});

test("a key that went with its host is made anew on another one", async (t) => {
  const world = await World.make(t);
  world.startAll();
  const [first, second, third] = world.hosts;
  third!.refusal = "not yet";
  await world.rotate(first!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "issue");
  first!.crash();
  const gone = { hostId: first!.hostId, nowMs: 1 };
  await world.simulation.run(removeHost(world.directory, CLUSTER, gone));
  third!.refusal = undefined;
  await world.rotate(second!);
  await world.pass(LONG_MS);
  assert.equal(await world.step(), "done");
  const [one, other] = [second!, third!].map(({ stored }) => fingerprintOf(stored.trust.authority));
  assert.equal(one, other);
  assert.ok(second!.desk.hasAuthority());
});

for (const [dying, ways] of [
  [0, [false, true]],
  [1, [false]],
] as const) {
  for (const isAfter of ways) {
    const when = isAfter ? "after" : "before";
    test(`${NAMES[dying]} dies ${when} any call, and the replacement ends well`, async (t) => {
      const callsMax = 200;
      let died = 0;
      for (let calls = 1; calls <= callsMax; calls++) {
        const world = await World.make(t, ["h1", "h2"]);
        world.startAll();
        await world.pass(1000);
        const host = world.hosts[dying]!;
        let isDead = false;
        host.mortal.onDeath = () => {
          isDead = true;
          host.crash();
        };
        host.mortal.isAfter = isAfter;
        host.mortal.callsLeft = calls;
        void world.hosts[0]!.keeper.rotate(false);
        await world.pass(LONG_MS);
        if (isDead) world.checkEachBelievesEach();
        host.mortal.callsLeft = Infinity;
        if (isDead) {
          died++;
          host.start();
          await world.pass(LONG_MS);
          // It had not been told to anybody yet.
          if ((await world.step()) === undefined) await world.rotate(world.hosts[0]!);
          await world.pass(LONG_MS);
        }
        assert.equal(await world.step(), "done", `it died at call ${calls}`);
        world.checkReplaced();
        for (const one of world.hosts) one.keeper.close();
        if (!isDead) break;
      }
      assert.ok(died > 8 && died < callsMax, `it died ${died} times`);
    });
  }
}
