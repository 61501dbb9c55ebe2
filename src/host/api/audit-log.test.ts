import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import type { Clock } from "../../ports/index.ts";
import { AuditLog } from "./audit-log.ts";
import { EVENTS_KEPT, EventRing } from "./event-ring.ts";

class World {
  readonly simulation = new Simulation({ seed: 1 });
  readonly #machine = new SimMachine(this.simulation);
  readonly #store = new SimMetadataStore(this.#machine, new MetadataMedium());
  readonly clock: Clock = this.#machine.clock;
  audit: AuditLog = this.open();

  /** As after a start. */
  open(): AuditLog {
    return new AuditLog(this.#store, this.clock, (error) => assert.fail(String(error)));
  }

  /** What an older version has left. */
  ring(): EventRing {
    const lost = (error: unknown): void => assert.fail(String(error));
    return new EventRing(this.#store, this.clock, lost, "audit/");
  }

  is(who: string, outcome: string, target: string): void {
    this.audit.add({ who, remote: "10.0.0.9", operation: "volume.delete", target, outcome });
  }

  async pass(ms: number): Promise<void> {
    await this.simulation.run(new Promise<void>((done) => void this.clock.after(ms, done)));
  }

  get said(): readonly string[] {
    return this.audit
      .list(0, EVENTS_KEPT)
      .map(({ who, operation, target, outcome }) => `${who}: ${operation} ${target}: ${outcome}`);
  }
}

test("who is refused again and again is told of a few times a minute, then counted", async () => {
  const world = new World();
  world.is("anna", "done", "important");
  for (let i = 0; i < EVENTS_KEPT + 1; i++) world.is("eve", "role-too-low", `v${i}`);
  world.is("otto", "role-too-low", "v1");
  assert.equal(world.said.length, 1 + 20 + 1, "another one's refusals count by themselves");
  await world.pass(60_001);
  assert.equal(world.said[0], "anna: volume.delete important: done");
  const rest = `${EVENTS_KEPT - 19} more within a minute were not done`;
  assert.equal(world.said.at(-1), `eve: others -: ${rest}`);
  for (let i = 0; i < 50; i++) world.is("anna", "done", `v${i}`);
  assert.equal(world.said.length, 23 + 50, "what is done is told each time");
  world.audit.close();
});

test("what was refused drives out no entry of what was done, also after a start", async () => {
  const world = new World();
  world.is("anna", "done", "important");
  for (let i = 0; i < 1200; i++) world.is(`user ${i}`, "role-too-low", "v");
  const check = (audit: AuditLog, newest: string): void => {
    world.audit = audit;
    assert.equal(world.said.length, 1001);
    assert.equal(world.said[0], "anna: volume.delete important: done");
    assert.equal(world.said.at(-1), `${newest}: volume.delete v: role-too-low`);
  };
  check(world.audit, "user 1199");
  await world.pass(1);
  check(world.open(), "user 1199");
  world.is("user 1200", "role-too-low", "v");
  check(world.audit, "user 1200");
});

test("what an older version has kept beyond the share goes when the host starts", async () => {
  const world = new World();
  const older = world.ring();
  const refused = { level: "warning", kind: "audit", message: "m", details: {} } as const;
  for (let i = 0; i < 1500; i++) older.add(refused);
  await world.pass(1);
  world.audit = world.open();
  assert.equal(world.said.length, 1000);
  await world.pass(1);
  assert.equal(world.ring().list(0, EVENTS_KEPT).length, 1000, "neither is it stored any more");
});
