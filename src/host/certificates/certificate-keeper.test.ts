import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { EmbeddedDirectory, putHost, removeHost } from "../../cluster/index.ts";
import { CERTIFICATE_LIFETIME_MS, makeAuthority } from "../../platform/index.ts";
import type { CertifiedKey } from "../../platform/index.ts";
import type { Clock } from "../../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import type { NewEvent } from "../api/event-ring.ts";
import { JoinDesk } from "./join-desk.ts";
import { readTlsFolder, writeTlsFolder } from "./tls-folder.ts";
import type { HostTls } from "./tls-folder.ts";

const CLUSTER = "c".repeat(32);
const HOST = "1".repeat(32);
const OTHER = "2".repeat(32);
const HOUR_MS = 3600 * 1000;

/** A host, and another one that has the authority's key. */
class World {
  readonly simulation: Simulation;
  readonly folder: string;
  readonly #time: Clock;
  readonly events: NewEvent[] = [];
  readonly tls: HostTls;
  readonly keeper: CertificateKeeper;
  readonly directory: EmbeddedDirectory;
  nowMs: number = Date.now();
  isAway = false;

  static async make(t: TestContext): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), "drystone-keeper-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const simulation = new Simulation({ seed: 1 });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await simulation.run(EmbeddedDirectory.open(store, machine.clock));
    return new World(folder, simulation, directory, machine.clock);
  }

  private constructor(
    folder: string,
    simulation: Simulation,
    directory: EmbeddedDirectory,
    time: Clock,
  ) {
    this.folder = folder;
    this.#time = time;
    this.simulation = simulation;
    this.directory = directory;
    const clock: Clock = {
      nowMs: () => time.nowMs(),
      wallMs: () => this.nowMs,
      after: (ms, call) => time.after(ms, call),
    };
    const authority = makeAuthority(CLUSTER, this.nowMs);
    const host = { clusterId: CLUSTER, hostId: HOST, addresses: ["10.0.0.1", "h1.example"] };
    writeTlsFolder(folder, authority, host, this.nowMs);
    this.tls = readTlsFolder(folder, CLUSTER, this.nowMs);
    const events = { add: (event: NewEvent) => void this.events.push(event) };
    const deskOf = (key: CertifiedKey | undefined): JoinDesk =>
      new JoinDesk({
        ...{ directory, clusterId: CLUSTER, authorities: () => (key ? [key] : []) },
        ...{ clock, events, tls: this.tls },
        directoryText: () => "",
        clusterKeyText: () => undefined,
      });
    const far = deskOf(authority);
    this.keeper = new CertificateKeeper({
      ...{ hostName: "h1", clusterId: CLUSTER, tls: this.tls, folder, directory, clock, events },
      desk: deskOf(undefined),
      others: {
        call: async (hostId, _method, _path, body) => {
          if (this.isAway) throw new CodedError({ code: "connection-failed", message: "no" });
          assert.equal(hostId, OTHER);
          return await far.renew(body, HOST);
        },
      },
      log: { write: () => undefined },
    });
  }

  async addHosts(): Promise<void> {
    for (const [hostId, name] of [
      [HOST, "h1"],
      [OTHER, "h2"],
    ] as const) {
      const addresses = { managementAddress: "10.0.0.1:1", storageAddress: "10.0.0.1:2" };
      const record = { hostId, name, ...addresses, managementLinkAddress: "", faultDomain: name };
      await this.simulation.run(putHost(this.directory, CLUSTER, record));
    }
  }

  get certificate(): X509Certificate {
    return new X509Certificate(this.tls.trust.credentials.certificatePem);
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.simulation.run(new Promise<void>((resolve) => void this.#time.after(ms, resolve)));
  }
}

test("a certificate is renewed when half of its life is over, and not before", async (t) => {
  const world = await World.make(t);
  await world.addHosts();
  const before = world.certificate;
  world.keeper.start();
  await world.pass(CERTIFICATE_LIFETIME_MS / 2 - 48 * HOUR_MS);
  assert.equal(world.certificate.serialNumber, before.serialNumber);
  await world.pass(72 * HOUR_MS);
  const after = world.certificate;
  assert.notEqual(after.serialNumber, before.serialNumber);
  assert.equal(after.subjectAltName, before.subjectAltName);
  assert.ok(after.publicKey.equals(before.publicKey));
  assert.equal(readFileSync(join(world.folder, "host.crt"), "utf8"), after.toString());
  assert.deepEqual(
    world.events.map(({ kind }) => kind),
    ["certificate-renewed"],
  );
  world.keeper.close();
});

test("while nobody can sign, the certificate stays and the next try comes", async (t) => {
  const world = await World.make(t);
  await world.addHosts();
  const before = world.certificate.serialNumber;
  world.isAway = true;
  await assert.rejects(world.simulation.run(world.keeper.renew()), { code: "authority-away" });
  world.keeper.start();
  await world.pass(CERTIFICATE_LIFETIME_MS / 2 + 24 * HOUR_MS);
  assert.equal(world.certificate.serialNumber, before);
  assert.ok(world.events.some(({ kind }) => kind === "certificate-not-renewed"));
  world.isAway = false;
  await world.pass(13 * HOUR_MS);
  assert.notEqual(world.certificate.serialNumber, before);
  world.keeper.close();
});

test("a host that is removed is refused at once, and after a restart without a directory", async (t) => {
  const world = await World.make(t);
  await world.addHosts();
  world.keeper.start();
  await world.pass(1000);
  assert.equal(world.tls.trust.isRevoked(OTHER), false);
  const { nowMs } = world;
  await world.simulation.run(removeHost(world.directory, CLUSTER, { hostId: OTHER, nowMs }));
  await world.pass(1000);
  assert.equal(world.tls.trust.isRevoked(OTHER), true);
  assert.deepEqual(
    world.keeper.view().removed.map(({ name }) => name),
    ["h2"],
  );
  assert.equal(readTlsFolder(world.folder, CLUSTER, nowMs).trust.isRevoked(OTHER), true);
  world.keeper.close();
});
