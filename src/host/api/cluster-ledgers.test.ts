/** Events and audit entries of all hosts as one list. */
import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../sim/index.ts";
import { AuditLog } from "./audit-log.ts";
import type { NewAuditEntry } from "./audit-log.ts";
import { ClusterLedgers } from "./cluster-ledgers.ts";
import { EventRing } from "./event-ring.ts";

const NAMES = ["h1", "h2", "h3"];

class World {
  readonly asked: string[] = [];
  readonly ledgers: ClusterLedgers;
  nowMs = 1000;
  readonly #events = new Map<string, EventRing>();
  readonly #audits = new Map<string, AuditLog>();

  constructor(isSilent: (name: string) => boolean = () => false) {
    const clock = { nowMs: () => this.nowMs, wallMs: () => this.nowMs };
    const machine = new SimMachine(new Simulation({ seed: 1 }));
    for (const name of NAMES) {
      const store = new SimMetadataStore(machine, new MetadataMedium());
      const whole = { ...clock, after: () => ({ cancel: () => {} }) };
      const lost = (error: unknown): void => assert.fail(String(error));
      this.#events.set(name, new EventRing(store, whole, lost));
      this.#audits.set(name, new AuditLog(store, whole, lost));
    }
    const others = {
      callAt: async ({ hostId }: { readonly hostId: string }, method: string, path: string) => {
        this.asked.push(`${hostId} ${method} ${path}`);
        if (isSilent(hostId)) throw new CodedError({ code: "connection-failed", message: "away" });
        const limit = Number(/limit=(\d+)/.exec(path)![1]);
        return path.startsWith("/v1/audit")
          ? { entries: this.#audits.get(hostId)!.list(0, limit) }
          : { events: this.#events.get(hostId)!.list(0, limit) };
      },
    };
    this.ledgers = new ClusterLedgers({
      ...{ hostId: "h1", others, events: this.#events.get("h1")! },
      audit: this.#audits.get("h1")!,
      hosts: async () => NAMES.map((name) => ({ hostId: name, name, managementAddress: name })),
    });
  }

  happens(host: string, message: string): void {
    this.nowMs++;
    this.#events.get(host)!.add({ level: "info", kind: "k", message, details: {} });
    const entry = { who: "anna", remote: "r", operation: message, target: "t", outcome: "done" };
    this.audited(host, entry);
  }

  audited(host: string, entry: NewAuditEntry): void {
    this.#audits.get(host)!.add(entry);
  }
}

test("what happened on all hosts is one list by time, and each entry says whose it is", async () => {
  const world = new World();
  for (const [i, host] of ["h2", "h1", "h3", "h2"].entries()) world.happens(host, `m${i}`);
  const { events, silentHosts } = await world.ledgers.events({ allHosts: true });
  assert.deepEqual(
    events.map(({ host, message }) => `${host} ${message}`),
    ["h2 m0", "h1 m1", "h3 m2", "h2 m3"],
  );
  assert.deepEqual(silentHosts, []);
  const { entries } = await world.ledgers.audit({ allHosts: true, limit: 2 });
  assert.deepEqual(
    entries.map(({ host, operation }) => `${host} ${operation}`),
    ["h3 m2", "h2 m3"],
  );
});

test("an audit entry keeps no control characters of what a request names", async () => {
  const world = new World();
  const entry = { who: "anna", remote: "r", operation: "volume.detach", outcome: "role-too-low" };
  world.audited("h1", { ...entry, target: "x\u001b[2J\n\u202e".padEnd(1000, "y") });
  const { entries } = await world.ledgers.audit({});
  assert.match(entries[0]!.target, /^x\\x1b\[2J\\x0a\\u202ey+$/);
});

test("a host that does not answer is named, and the others' are told all the same", async () => {
  const world = new World((name) => name === "h3");
  for (const host of NAMES) world.happens(host, `on ${host}`);
  const { events, silentHosts } = await world.ledgers.events({ allHosts: true });
  assert.deepEqual(
    events.map(({ message }) => message),
    ["on h1", "on h2"],
  );
  assert.deepEqual(silentHosts, ["h3"]);
});

test("one host's are asked of nobody else", async () => {
  const world = new World();
  world.happens("h1", "here");
  world.happens("h2", "there");
  const { events, lastSequence } = await world.ledgers.events({ after: 0 });
  assert.deepEqual([events.map(({ host }) => host), lastSequence], [[undefined], 1]);
  assert.equal((await world.ledgers.audit({})).entries.length, 1);
  assert.deepEqual(world.asked, []);
});

test("one host's numbers do not count for all of them", async () => {
  const { ledgers } = new World();
  for (const request of [{ after: 3 }, { follow: true }])
    await assert.rejects(ledgers.events({ ...request, allHosts: true }), (error) => {
      return error instanceof CodedError && error.code === "request-invalid";
    });
  await assert.rejects(ledgers.audit({ after: 3, allHosts: true }), CodedError);
});
