import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { EmbeddedDirectory } from "../../cluster/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import { AccessDesk, checkRight } from "./access-desk.ts";
import type { Principal } from "./access-desk.ts";
import type { AccessCreateRequest } from "./views.ts";

const CLUSTER = "c1";
const DAY_MS = 24 * 3600 * 1000;

class World {
  readonly directory: EmbeddedDirectory;
  readonly desk: AccessDesk;
  nowMs = 1_800_000_000_000;
  readonly #simulation: Simulation;

  static async make(): Promise<World> {
    const simulation = new Simulation({ seed: 1 });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    return new World(simulation, await EmbeddedDirectory.open(store, machine.clock));
  }

  private constructor(simulation: Simulation, directory: EmbeddedDirectory) {
    this.#simulation = simulation;
    this.directory = directory;
    this.desk = this.newDesk();
  }

  /** Another host's. */
  newDesk(): AccessDesk {
    const wallMs = (): number => this.nowMs;
    const clock = { nowMs: wallMs, wallMs, after: () => ({ cancel: () => {} }) };
    return new AccessDesk({ directory: this.directory, clusterId: CLUSTER, clock });
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.#simulation.run(work);
  }

  async token(request: Partial<AccessCreateRequest> = {}): Promise<{ id: string; token: string }> {
    return await this.run(this.desk.create({ name: "anna", role: "viewer", ...request }));
  }

  ask(token: string, desk: AccessDesk = this.desk, remote = "10.0.0.9"): Promise<Principal> {
    return this.run(desk.principalOf(token, remote));
  }
}

test("a token says who asks until it expires, and the directory cannot tell it", async () => {
  const world = await World.make();
  const { id, token } = await world.token({ role: "operator", days: 2 });
  const { who, role, scopes } = await world.ask(token);
  assert.deepEqual([who, role, scopes], [`token anna (${id})`, "operator", undefined]);
  const { records } = await world.directory.list("/drystone/c1/access-token/");
  const secret = token.slice(token.lastIndexOf(`${id}-`) + id.length + 1);
  assert.ok(records.length === 1 && !JSON.stringify(records).includes(secret));
  const [listed] = await world.run(world.desk.list());
  assert.ok(listed !== undefined && !("hash" in listed) && !("token" in listed));
  world.nowMs += 2 * DAY_MS - 1;
  await world.ask(token);
  world.nowMs += 1;
  await assert.rejects(world.ask(token), { code: "access-expired" });
});

test("what is no token, or not quite one, is refused without saying what is wrong", async () => {
  const world = await World.make();
  const { token } = await world.token();
  const { token: other } = await world.token();
  const last = token.endsWith("A") ? "B" : "A";
  const idOfOne = token.slice(0, "drystone-access-".length + 16);
  const wrong = [
    "",
    "x",
    token.slice(0, -1),
    `${token.slice(0, -1)}${last}`,
    token.toUpperCase(),
    `${idOfOne}${other.slice(idOfOne.length)}`,
    `drystone-access-${"0".repeat(16)}-${"A".repeat(43)}`,
    `drystone-access-../../hosts-${"A".repeat(43)}`,
  ];
  for (const [index, text] of wrong.entries()) {
    const remote = `10.0.1.${index}`;
    await assert.rejects(world.ask(text, world.desk, remote), {
      code: "access-denied",
      message: "the token that was shown is none of this cluster's",
    });
  }
});

test("a token that is taken back is good nowhere after five seconds", async () => {
  const world = await World.make();
  const elsewhere = world.newDesk();
  const { id, token } = await world.token();
  await world.ask(token);
  await world.ask(token, elsewhere);
  await world.run(world.desk.revoke(id));
  await assert.rejects(world.ask(token), { code: "access-denied" });
  world.nowMs += 5000;
  await assert.rejects(world.ask(token, elsewhere), { code: "access-denied" });
  await assert.rejects(world.run(world.desk.revoke(id)), { code: "access-unknown" });
});

test("who guesses is not listened to for a minute, and nobody else is kept out", async () => {
  const world = await World.make();
  const { token } = await world.token();
  for (let attempt = 0; attempt < 20; attempt++)
    await assert.rejects(world.ask("guess", world.desk, "10.0.0.66"), { code: "access-denied" });
  await assert.rejects(world.ask(token, world.desk, "10.0.0.66"), { code: "too-many-attempts" });
  await world.ask(token, world.desk, "10.0.0.1");
  world.nowMs += 60_000;
  await world.ask(token, world.desk, "10.0.0.66");
});

test("roles and scopes are what they say", () => {
  const principal = (role: Principal["role"], scopes?: readonly string[]): Principal => ({
    ...{ who: "anna", role, scopes },
  });
  const needed = { scope: "volume", what: "volume create" };
  const create = { ...needed, role: "operator" } as const;
  checkRight(principal("operator"), create);
  checkRight(principal("admin"), create);
  checkRight(principal("operator", ["vm", "volume"]), create);
  assert.throws(() => checkRight(principal("viewer"), create), { code: "role-too-low" });
  assert.throws(() => checkRight(principal("admin", ["metrics"]), create), {
    code: "scope-missing",
  });
});
