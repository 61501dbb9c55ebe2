import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { BLOCK_SIZE_BYTES } from "../../base/index.ts";
import {
  component,
  createVolumeRecord,
  directoryKeys,
  EmbeddedDirectory,
  putHost,
} from "../../cluster/index.ts";
import type { VolumeEncryption } from "../../cluster/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import type { BlockCipher } from "../../ports/index.ts";
import { makeClusterKey } from "./cluster-key-file.ts";
import { KeyKeeper } from "./key-keeper.ts";
import { openKey, sealKey } from "./sealed-key.ts";

const CLUSTER = "c".repeat(32);
const HOSTS = ["a", "b", "c"].map((letter) => letter.repeat(32));

/** Three hosts, of which the first two have the cluster key. */
class World {
  readonly simulation: Simulation;
  readonly directory: EmbeddedDirectory;
  readonly folder = mkdtempSync(join(tmpdir(), "drystone-keys-"));
  readonly keepers: readonly [KeyKeeper, KeyKeeper, KeyKeeper];
  #ids = 0;

  private constructor(simulation: Simulation, directory: EmbeddedDirectory) {
    this.simulation = simulation;
    this.directory = directory;
    this.keepers = HOSTS.map((hostId) => this.keeper(hostId)) as [KeyKeeper, KeyKeeper, KeyKeeper];
    makeClusterKey(this.file(0));
    this.copyKey(0, 1);
  }

  static async make(t: TestContext): Promise<World> {
    const simulation = new Simulation({ seed: 1 });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const world = new World(simulation, await EmbeddedDirectory.open(store, machine.clock));
    t.after(() => rmSync(world.folder, { recursive: true }));
    for (const hostId of HOSTS) await world.run(putHost(world.directory, CLUSTER, host(hostId)));
    return world;
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.simulation.run(work);
  }

  file(index: number): string {
    return join(this.folder, `${HOSTS[index]}.key`);
  }

  copyKey(from: number, to: number): void {
    writeFileSync(this.file(to), readFileSync(this.file(from)), { mode: 0o600 });
  }

  keeper(hostId: string): KeyKeeper {
    const clock = { nowMs: () => 0, wallMs: () => 5, after: () => ({ cancel: () => undefined }) };
    const newId = (): string => String(++this.#ids).padStart(32, "0");
    const keyFile = join(this.folder, `${hostId}.key`);
    return new KeyKeeper({
      ...{ directory: this.directory, clock, clusterId: CLUSTER, hostId, keyFile, newId },
    });
  }
}

function host(hostId: string) {
  return {
    ...{ hostId, name: hostId.slice(0, 2), managementAddress: "10.0.0.2:7400" },
    ...{ storageAddress: "10.0.0.2:7401", managementLinkAddress: "", faultDomain: hostId },
  };
}

/** What tells ciphers apart. */
function sample(cipher: BlockCipher): string {
  const block = new Uint8Array(BLOCK_SIZE_BYTES).fill(1);
  cipher.encrypt(block, 0, block, 0);
  return Buffer.from(block.subarray(0, 32)).toString("hex");
}

async function createVolume(
  world: World,
  name: string,
  encryption: VolumeEncryption,
): Promise<void> {
  const volume = { objectId: name, name, sizeBytes: 4096, encryption };
  const policy = { failuresToTolerate: 0, stripes: 1 };
  const placement = [{ componentId: `${name}1`, hostId: HOSTS[0]!, deviceId: "d1" }];
  const all = { ...volume, policy, tree: component(`${name}1`), placement };
  await world.run(createVolumeRecord(world.directory, CLUSTER, all));
}

test("hosts with the cluster key open a domain's key alike, each domain has another one", async (t) => {
  const world = await World.make(t);
  const [one, other, without] = world.keepers;
  const domain = await world.run(one.ensureDomain("default"));
  assert.deepEqual(await world.run(other.ensureDomain("default")), domain);
  const tenant = await world.run(other.ensureDomain("tenant"));
  const opened = sample(await world.run(one.cipherOf(domain)));
  assert.equal(sample(await world.run(other.cipherOf(domain))), opened);
  assert.notEqual(sample(await world.run(other.cipherOf(tenant))), opened);
  await assert.rejects(world.run(without.cipherOf(domain)), { code: "cluster-key-missing" });
  makeClusterKey(world.file(2));
  await assert.rejects(world.run(without.cipherOf(domain)), { code: "cluster-key-wrong" });
  writeFileSync(world.file(2), "not a key\n");
  await assert.rejects(world.run(without.cipherOf(domain)), { code: "cluster-key-invalid" });
  assert.match(without.reasonAgainst() ?? "", /64 hexadecimal digits/);
});

test("a sealed key in another domain's place is not opened", async (t) => {
  const world = await World.make(t);
  const [keeper] = world.keepers;
  const domain = await world.run(keeper.ensureDomain("default"));
  await world.run(keeper.ensureDomain("tenant"));
  const [key, from] = ["default", "tenant"].map((name) => directoryKeys.keyDomain(CLUSTER, name));
  const read = async (at: string): Promise<{ readonly seals: object }> =>
    JSON.parse((await world.run(world.directory.get(at)))?.value ?? "") as { seals: object };
  const value = JSON.stringify({ ...(await read(key!)), seals: (await read(from!)).seals });
  await world.run(world.directory.transact([], [{ kind: "put", key: key!, value }]));
  await assert.rejects(world.run(keeper.cipherOf(domain)), { code: "cluster-key-wrong" });
  const under = new Uint8Array(32).fill(1);
  const seal = sealKey(under, "this", new Uint8Array(32).fill(2));
  assert.deepEqual([...openKey(under, "this", seal)!], [...new Uint8Array(32).fill(2)]);
  assert.equal(openKey(under, "that", seal), undefined);
  assert.equal(openKey(under, "this", { ...seal, sealed: "00" }), undefined);
});

test("a destroyed domain opens nothing, also when another one has its name", async (t) => {
  const world = await World.make(t);
  const [keeper] = world.keepers;
  const domain = await world.run(keeper.ensureDomain("tenant"));
  await createVolume(world, "v", domain);
  await assert.rejects(world.run(keeper.destroyDomain("tenant")), { code: "key-domain-in-use" });
  await assert.rejects(world.run(keeper.destroyDomain("other")), { code: "key-domain-unknown" });
  const unused = await world.run(keeper.ensureDomain("unused"));
  await world.run(keeper.destroyDomain("unused"));
  await assert.rejects(world.run(keeper.cipherOf(unused)), { code: "key-domain-gone" });
  const again = await world.run(keeper.ensureDomain("unused"));
  assert.notEqual(again.domainId, unused.domainId);
  await assert.rejects(world.run(keeper.cipherOf(unused)), { code: "key-domain-gone" });
  await assert.rejects(createVolume(world, "late", unused), { code: "key-domain-gone" });
});

test("a domain is not destroyed behind the back of who makes a volume of it", async (t) => {
  const world = await World.make(t);
  const [keeper] = world.keepers;
  const domain = await world.run(keeper.ensureDomain("tenant"));
  const transact = world.directory.transact.bind(world.directory);
  let isMade = false;
  // The volume is made after the list of volumes was read, and before the domain goes.
  world.directory.transact = async (conditions, writes) => {
    if (!isMade && writes.some(({ kind }) => kind === "delete")) {
      isMade = true;
      const policy = { failuresToTolerate: 0, stripes: 1 };
      await createVolumeRecord(world.directory, CLUSTER, {
        ...{ objectId: "v", name: "v", sizeBytes: 4096, encryption: domain, policy },
        ...{ tree: component("v1") },
        placement: [{ componentId: "v1", hostId: HOSTS[0]!, deviceId: "d1" }],
      });
    }
    return await transact(conditions, writes);
  };
  await assert.rejects(world.run(keeper.destroyDomain("tenant")), { code: "key-domain-in-use" });
  assert.ok(isMade);
  await world.run(keeper.cipherOf(domain));
});

test("while the cluster key changes nobody lacks one, and afterwards the old one opens nothing", async (t) => {
  const world = await World.make(t);
  const [one, other, late] = world.keepers;
  world.copyKey(0, 2);
  const old = readFileSync(world.file(0));
  await assert.rejects(world.run(one.beginRotation()), { code: "cluster-key-unused" });
  const domain = await world.run(one.ensureDomain("default"));
  const opened = sample(await world.run(one.cipherOf(domain)));
  const readers = async (): Promise<void> => {
    for (const keeper of world.keepers)
      assert.equal(sample(await world.run(keeper.cipherOf(domain))), opened);
  };
  await world.run(one.beginRotation());
  await readers();
  // A domain that is made meanwhile can be opened with either key.
  const meanwhile = await world.run(one.ensureDomain("meanwhile"));
  await world.run(late.cipherOf(meanwhile));
  await world.run(other.adopt());
  await world.run(one.beginRotation());
  assert.deepEqual(await world.run(one.unconfirmed()), [HOSTS[2]]);
  await readers();
  await world.run(late.adopt());
  assert.deepEqual(await world.run(one.unconfirmed()), []);
  await world.run(late.endRotation());
  await readers();
  for (const keeper of world.keepers) await world.run(keeper.adopt());
  await readers();
  assert.equal(readFileSync(world.file(0), "utf8"), readFileSync(world.file(2), "utf8"));
  assert.equal(await world.run(one.unconfirmed()), undefined);
  writeFileSync(world.file(1), old);
  await assert.rejects(world.run(other.cipherOf(domain)), { code: "cluster-key-wrong" });
});

test("a host without the cluster key is waited for and given nothing", async (t) => {
  const world = await World.make(t);
  const [one, other, without] = world.keepers;
  await world.run(one.ensureDomain("default"));
  await world.run(one.beginRotation());
  for (const keeper of [other, without]) await world.run(keeper.adopt());
  assert.deepEqual(await world.run(one.unconfirmed()), [HOSTS[2]]);
  assert.match(without.reasonAgainst() ?? "", /does not have the cluster key/);
  // Whoever waits no longer leaves that host to a copy of the file.
  const domain = await world.run(one.ensureDomain("default"));
  await world.run(one.endRotation());
  await world.run(other.cipherOf(domain));
  world.copyKey(1, 2);
  await world.run(without.cipherOf(domain));
});
