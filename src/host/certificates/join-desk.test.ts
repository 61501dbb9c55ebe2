import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { EmbeddedDirectory, putHost } from "../../cluster/index.ts";
import { identityOf, makeAuthority, makePrivateKey, publicKeyOf } from "../../platform/index.ts";
import { TlsTrust } from "../../platform/index.ts";
import type { CertifiedKey } from "../../platform/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import type { Clock } from "../../ports/index.ts";
import { hostCredentials } from "../../../test/support/credentials.ts";
import { test } from "../../../test/support/test.ts";
import type { NewEvent } from "../api/event-ring.ts";
import { JoinDesk, joinProof, parseToken } from "./join-desk.ts";
import type { JoinRequest } from "./join-desk.ts";

const CLUSTER = "c".repeat(32);
const CLUSTER_KEY = `${"a5".repeat(32)}\n`;
const MINUTE_MS = 60_000;

class World {
  readonly simulation: Simulation;
  readonly authority: CertifiedKey = makeAuthority(CLUSTER, Date.now());
  readonly events: NewEvent[] = [];
  nowMs = Date.now();
  readonly directory: EmbeddedDirectory;
  readonly desk: JoinDesk;
  readonly #clock: Clock;

  static async make(hasAuthority = true): Promise<World> {
    const simulation = new Simulation({ seed: 1 });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await EmbeddedDirectory.open(store, machine.clock);
    return new World(simulation, directory, machine.clock, hasAuthority);
  }

  private constructor(
    simulation: Simulation,
    directory: EmbeddedDirectory,
    clock: Clock,
    hasAuthority: boolean,
  ) {
    this.simulation = simulation;
    this.#clock = clock;
    this.directory = directory;
    this.desk = new JoinDesk({
      directory,
      clusterId: CLUSTER,
      authorities: () => (hasAuthority ? [this.authority] : []),
      tls: { trust: new TlsTrust(hostCredentials("1", { authority: this.authority })) },
      directoryText: () => "served:10.0.0.1:7402",
      clusterKeyText: () => CLUSTER_KEY,
      clock: {
        nowMs: () => clock.nowMs(),
        wallMs: () => this.nowMs,
        after: (ms, call) => clock.after(ms, call),
      },
      events: { add: (event) => void this.events.push(event) },
    });
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.simulation.run(work);
  }

  async token(ttlMinutes?: number): Promise<string> {
    return (await this.run(this.desk.createToken(ttlMinutes))).token;
  }

  request(token: string, name = "h2"): JoinRequest {
    const keyPem = makePrivateKey();
    const proof = joinProof(token, keyPem);
    return { token, name, publicKeyPem: publicKeyOf(keyPem), proof, addresses: ["10.0.0.2"] };
  }

  /** Of events as of the clock. */
  async passMinute(): Promise<void> {
    await this.run(new Promise<void>((resolve) => void this.#clock.after(MINUTE_MS + 1, resolve)));
  }

  async refused(request: object, code: string): Promise<void> {
    await this.passMinute();
    const before = this.events.length;
    await assert.rejects(this.run(this.desk.join(request, "10.0.0.9")), { code });
    const [event, ...more] = this.events.slice(before);
    assert.equal(event?.kind, "join-refused");
    assert.equal(event.details["remote"], "10.0.0.9");
    assert.deepEqual(more, []);
  }
}

test("who brings a token gets a certificate of the cluster, once", async () => {
  const world = await World.make();
  const token = await world.token();
  const request = world.request(token);
  const answer = await world.run(world.desk.join(request, "10.0.0.2"));
  const certificate = new X509Certificate(answer.certificatePem);
  const ca = new X509Certificate(world.authority.certificatePem);
  assert.ok(certificate.verify(ca.publicKey));
  assert.equal(identityOf(certificate)?.clusterId, CLUSTER);
  assert.equal(certificate.checkIP("10.0.0.2"), "10.0.0.2");
  assert.equal(answer.directory, "served:10.0.0.1:7402");
  assert.equal(answer.clusterKey, CLUSTER_KEY);
  assert.equal(world.events.at(-1)?.kind, "host-joined");
  await world.refused(request, "token-used");
  await world.refused(world.request(token, "h3"), "token-used");
});

test("a token that has expired, is forged, cut or of another cluster lets nobody in", async () => {
  const world = await World.make();
  const token = await world.token(5);
  world.nowMs += 5 * MINUTE_MS;
  await world.refused(world.request(token), "token-expired");
  const { fingerprint } = parseToken(token);
  const forged = Buffer.concat([Buffer.alloc(16, 7), Buffer.from(fingerprint, "hex")]);
  const forgedText = `drystone-${forged.toString("base64url")}`;
  await world.refused(world.request(forgedText), "token-unknown");
  const other = await World.make();
  await world.refused(world.request(await other.token()), "token-unknown");
  await world.refused(world.request(token.slice(0, -1)), "token-invalid");
  await world.refused(world.request("drystone-"), "token-invalid");
});

test("a request with something wrong does not use up its token", async () => {
  const world = await World.make();
  const token = await world.token();
  const good = world.request(token);
  const strange = { ...good, proof: world.request(token).proof };
  await world.refused(strange, "request-invalid");
  await world.refused({ ...good, publicKeyPem: "nonsense" }, "request-invalid");
  await world.refused({ ...good, name: "a b" }, "request-invalid");
  await world.refused({ ...good, addresses: ["10.0.0.2, URI:drystone://x"] }, "request-invalid");
  await world.refused({ ...good, more: 1 }, "request-invalid");
  await world.refused({}, "request-invalid");
  const host = {
    hostId: "a".repeat(32),
    name: "h2",
    managementAddress: "10.0.0.2:7400",
    storageAddress: "10.0.0.2:7401",
    managementLinkAddress: "",
    faultDomain: "h2",
  };
  await world.run(putHost(world.directory, CLUSTER, host));
  await world.refused(good, "host-exists");
  await world.run(world.desk.join(world.request(token, "h3"), "10.0.0.3"));
});

test("an address that is refused again and again is not listened to, and few events tell of it", async () => {
  const world = await World.make();
  const request = world.request(await world.token());
  const ask = async (remote: string): Promise<void> =>
    void (await world.run(world.desk.join({ ...request, more: 1 }, remote)));
  for (let i = 0; i < 20; i++) await assert.rejects(ask("10.0.0.9"), { code: "request-invalid" });
  await assert.rejects(ask("10.0.0.9"), { code: "too-many-attempts" });
  const mapped = world.run(world.desk.join(request, "::ffff:10.0.0.9"));
  await assert.rejects(mapped, { code: "too-many-attempts" });
  assert.equal(world.events.length, 1);
  for (let i = 0; i < 100; i++)
    await assert.rejects(ask(`10.0.1.${i}`), { code: "request-invalid" });
  assert.equal(world.events.length, 4, "neither do many addresses fill the events");
  await world.passMinute();
  assert.match(world.events[4]?.message ?? "", /not let in 116 more times within a minute/);
  world.nowMs += MINUTE_MS;
  await world.run(world.desk.join(request, "10.0.0.9"));
  assert.equal(world.events.at(-1)?.kind, "host-joined");
});

test("addresses of one IPv6 network count as one", async () => {
  const world = await World.make();
  for (let i = 0; i < 20; i++)
    await assert.rejects(world.run(world.desk.join({}, `2001:db8:1:2::${i}`)), {
      code: "request-invalid",
    });
  const more = world.run(world.desk.join({}, "2001:db8:1:2:3:4:5:6"));
  await assert.rejects(more, { code: "too-many-attempts" });
  const other = world.run(world.desk.join({}, "2001:db8:1:3::1"));
  await assert.rejects(other, { code: "request-invalid" });
});

test("who has no token is not told which hosts there are", async () => {
  const world = await World.make();
  const host = {
    hostId: "a".repeat(32),
    name: "h2",
    managementAddress: "10.0.0.2:7400",
    storageAddress: "10.0.0.2:7401",
    managementLinkAddress: "",
    faultDomain: "h2",
  };
  await world.run(putHost(world.directory, CLUSTER, host));
  const { fingerprint } = parseToken(await world.token());
  const forged = Buffer.concat([Buffer.alloc(16, 7), Buffer.from(fingerprint, "hex")]);
  const request = world.request(`drystone-${forged.toString("base64url")}`, "h2");
  await world.refused(request, "token-unknown");
});

test("a host without the authority's key says so", async () => {
  const world = await World.make(false);
  await assert.rejects(world.token(), { code: "authority-elsewhere" });
});
