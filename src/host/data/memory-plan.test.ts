import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { SPACE_MAP_BYTES } from "../../store/index.ts";
import { memoryNow, memoryPlanOf } from "./memory-plan.ts";
import type { ClusterConfig } from "../host-config.ts";

const MIB = 2 ** 20;
/** Only whether there is one counts. */
const CLUSTER = {} as unknown as ClusterConfig;

test("what devices get and what blocks of other hosts get is within the memory of the configuration", () => {
  for (const memoryMib of [32, 128, 192, 4096])
    for (const devices of [1, 3])
      for (const cluster of [undefined, CLUSTER]) {
        const memoryBytes = memoryMib * MIB;
        const { device, farBytes } = memoryPlanOf({ memoryBytes, cluster }, devices);
        const { blockCacheBytes, journalBytes, pageCacheBytes } = device;
        const given = devices * (blockCacheBytes + journalBytes + pageCacheBytes) + farBytes;
        assert.ok(given <= memoryBytes * 0.9, `${given} of ${memoryBytes}`);
        assert.ok(given > memoryBytes * 0.9 - devices * 8, `${given} of ${memoryBytes}`);
      }
});

test("a device gets no more than one array can hold, and what is left over is not planned", () => {
  const memoryBytes = 2 ** 40;
  for (const devices of [1, 3]) {
    const plan = memoryPlanOf({ memoryBytes, cluster: undefined }, devices);
    assert.ok(plan.device.blockCacheBytes <= 2 ** 32);
    assert.equal(plan.usedBytes, devices * 6 * 1024 * MIB);
    assert.ok(plan.privateBytes - plan.usedBytes < 256 * MIB);
  }
  assert.equal(memoryPlanOf({ memoryBytes: MIB * 64, cluster: undefined }, 1).usedBytes, MIB * 64);
});

test("a host alone keeps no blocks of others, and plans nothing for them", () => {
  const alone = memoryPlanOf({ memoryBytes: 128 * MIB, cluster: undefined }, 1);
  const joined = memoryPlanOf({ memoryBytes: 128 * MIB, cluster: CLUSTER }, 1);
  assert.equal(alone.farBytes, 0);
  assert.equal(joined.farBytes, 16 * MIB);
  assert.ok(joined.residentBytes - alone.residentBytes > 40 * MIB);
});

test("both tables of the metadata of each device and its space map are planned for", () => {
  const one = memoryPlanOf({ memoryBytes: 1024 * MIB, cluster: undefined }, 1);
  const three = memoryPlanOf({ memoryBytes: 1024 * MIB, cluster: undefined }, 3);
  const tables = 2 * one.device.metadataTableBytes;
  assert.equal(three.residentBytes - one.residentBytes, 2 * (tables + SPACE_MAP_BYTES));
  assert.ok(SPACE_MAP_BYTES < 20 * MIB);
});

test("what there is is told beside what is planned", () => {
  const plan = memoryPlanOf({ memoryBytes: 128 * MIB, cluster: undefined }, 1);
  const now = memoryNow(plan);
  assert.equal(now["planBytes"], plan.residentBytes);
  assert.ok(now["privateBytes"]! > 5 * MIB);
  assert.ok(now["residentBytes"]! > now["privateBytes"]!);
});
