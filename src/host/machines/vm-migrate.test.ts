import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { vm } from "../../../test/support/vm-world.ts";
import type { VmRecord } from "../../cluster/index.ts";
import { HostViews } from "../../ha/index.ts";
import { migrationOf } from "./vm-migrate.ts";
import type { Cluster } from "./vm-migrate.ts";

const GIB = 2 ** 30;
const HOSTS = ["h1", "h2", "h3"];

function on(name: string, hostId: string, gib: number): VmRecord {
  return { ...vm(name), memoryBytes: gib * GIB, hostId, epoch: 1, startedEpoch: 1 };
}

function clusterOf(vms: readonly VmRecord[]): Cluster {
  const capacity = { memoryBytes: 10 * GIB, cpuCount: 8 };
  const views = HOSTS.map((hostId) => ({ hostId, capacity, reaches: HOSTS, inaccessible: [] }));
  return {
    ...{ vms, alive: HOSTS, views: new HostViews(views, 1), closed: new Set() },
    names: new Map(HOSTS.map((id) => [id, id])),
  };
}

test("a machine moves to the host that is named only if that has room beside what is there or comes", () => {
  const a = on("a", "h1", 6);
  const to = (others: readonly VmRecord[]): string =>
    migrationOf({ record: a, revision: 1 }, "h2", clusterOf([a, ...others])).to;
  const refused = {
    code: "vm-migration-refused",
    message: /^h2 has no room for a: 5 GiB of 6 GiB/,
  };
  assert.equal(to([on("b", "h2", 4)]), "h2");
  assert.throws(() => to([on("b", "h2", 5)]), refused);
  const migration = { id: 1, to: "h2", epoch: 1, phase: "asked", address: "" } as const;
  assert.throws(() => to([{ ...on("b", "h3", 5), migration }]), refused);
  assert.equal(to([{ ...on("b", "h3", 5), migration: { ...migration, phase: "over" } }]), "h2");
});
