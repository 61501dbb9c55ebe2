/**
 * /openapi.json against the host that serves it: every operation called, every answer as it says.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { routes } from "../../src/host/api/api-routes.ts";
import type { OperationName } from "../../src/host/index.ts";
import { DescribedApi } from "./described-api.ts";
import type { Call } from "./described-api.ts";
import { startHost } from "./harness.ts";

/** In an order in which each of them can be done. */
const snapshotCalls: readonly Call[] = [
  { name: "snapshot.create", request: { name: "web1@monday" } },
  { name: "snapshot.create", request: { name: "web1@monday" }, status: 409 },
  { name: "snapshot.create", request: { name: "web1" }, status: 400 },
  { name: "snapshot.list", request: { volume: "web1" } },
  { name: "volume.changes", request: { name: "web1@monday", digest: true } },
  { name: "volume.changes", request: { name: "web1", since: "monday" }, status: 409 },
  { name: "volume.clone", request: { name: "web1@monday", clone: "web2" } },
  { name: "volume.delete", request: { name: "web1" }, status: 409 },
  { name: "snapshot.rollback", request: { name: "web1@monday" } },
  { name: "snapshot.delete", request: { name: "web1@monday" } },
  { name: "snapshot.delete", request: { name: "web1@monday" }, status: 404 },
];

/** A host that is alone has no certificate. */
const certificateCalls: readonly Call[] = [
  { name: "certificate.show", status: 501 },
  { name: "certificate.renew", status: 501 },
  { name: "certificate.rotate-authority", status: 501 },
];

const whatIfCalls: readonly Call[] = [
  { name: "upgrade.show" },
  { name: "upgrade.finalize" },
  { name: "whatif.fail", request: { name: "h1" } },
  { name: "whatif.fail", request: { name: "nobody" }, status: 404 },
];

const accessCalls: readonly Call[] = [
  { name: "access.create", request: { name: "anna", role: "viewer" } },
  { name: "access.create", request: { name: "anna", role: "king" }, status: 400 },
  { name: "access.list" },
  { name: "access.revoke", request: { id: "0123456789abcdef" }, status: 404 },
  { name: "audit.list", request: { limit: 10 } },
  { name: "client.create", request: { name: "web", volumes: ["web1"], proof: "key" } },
  { name: "client.create", request: { name: "web", volumes: ["*"], proof: "key" }, status: 409 },
  { name: "client.create", request: { name: "db", volumes: ["db1"] }, status: 501 },
  { name: "client.list" },
  { name: "client.delete", request: { name: "web" } },
  { name: "client.delete", request: { name: "web" }, status: 404 },
];

const keyCalls: readonly Call[] = [
  { name: "key.show" },
  { name: "key.rotate", request: {}, status: 409 },
  {
    name: "volume.create",
    request: { name: "dark", sizeBytes: 4608, encrypted: true },
    status: 400,
  },
  {
    name: "volume.create",
    request: { name: "dark", sizeBytes: 4096, keyDomain: "a" },
    status: 400,
  },
  { name: "volume.create", request: { name: "dark", sizeBytes: 8192, encrypted: true } },
  { name: "volume.resize", request: { name: "dark", sizeBytes: 12_800 }, status: 400 },
  { name: "volume.set", request: { name: "dark", encrypted: true } },
  { name: "volume.set", request: { name: "web1", encrypted: true }, status: 409 },
  { name: "volume.attach", request: { name: "dark" } },
  { name: "key.rotate", request: {} },
  { name: "key.show" },
  { name: "key-domain.list" },
  { name: "key-domain.destroy", request: { name: "default" }, status: 409 },
  { name: "volume.detach", request: { name: "dark" } },
  { name: "volume.delete", request: { name: "dark" } },
  { name: "key-domain.destroy", request: { name: "default" } },
  { name: "key-domain.destroy", request: { name: "default" }, status: 404 },
];

const attachedCalls: readonly Call[] = [
  { name: "volume.attach", request: { name: "web1" } },
  { name: "volume.delete", request: { name: "web1" }, status: 409 },
  { name: "volume.move", request: { name: "web1", host: "h1" } },
  { name: "volume.move", request: { name: "web1", host: "nobody" }, status: 404 },
];

function calls(device: string): readonly Call[] {
  const web1 = { name: "web1" };
  const nobody = { name: "nobody" };
  return [
    { name: "status" },
    { name: "health.list" },
    { name: "health.show", request: { check: "host-down" } },
    { name: "health.show", request: { check: "nothing" }, status: 404 },
    { name: "host.list" },
    { name: "host.show", request: { name: "h1" } },
    { name: "host.show", request: nobody, status: 404 },
    { name: "network.show" },
    { name: "device.list" },
    { name: "volume.create", request: { ...web1, sizeBytes: 64 << 20 } },
    { name: "volume.create", request: { ...web1, sizeBytes: 64 << 20 }, status: 409 },
    { name: "volume.create", request: { ...web1, sizeBytes: "much" }, status: 400 },
    { name: "volume.list" },
    { name: "volume.show", request: web1 },
    { name: "volume.show", request: nobody, status: 404 },
    { name: "volume.resize", request: { ...web1, sizeBytes: 128 << 20 } },
    { name: "volume.set", request: { ...web1, stripes: 1 } },
    { name: "volume.set", request: { ...web1, failuresToTolerate: 1 }, status: 409 },
    ...snapshotCalls,
    ...attachedCalls,
    { name: "stats" },
    { name: "volume.detach", request: web1 },
    { name: "volume.detach", request: web1, status: 409 },
    { name: "device.scrub", request: { device } },
    { name: "resync.list" },
    { name: "settings.show" },
    { name: "settings.change", request: { repairDelaySeconds: 600 } },
    { name: "host.maintenance-on", request: { name: "h1", mode: "none", dryRun: true } },
    { name: "host.maintenance-on", request: { name: "h1", mode: "none" } },
    { name: "host.maintenance-off", request: { name: "h1" } },
    { name: "host.remove", request: { name: "h1" }, status: 409 },
    { name: "host.remove", request: nobody, status: 404 },
    ...certificateCalls,
    { name: "device.remove", request: { device, dryRun: true } },
    { name: "device.add", request: { path: "nowhere" }, status: 400 },
    { name: "device.keep", request: { device } },
    { name: "vm.create", request: { name: "vm1", volumes: ["web1"], memoryBytes: 64 << 20 } },
    { name: "vm.list" },
    { name: "vm.show", request: { name: "vm1" } },
    { name: "vm.console", request: { name: "vm1" }, status: 409 },
    { name: "vm.type", request: { name: "vm1", text: "ls", enter: true }, status: 409 },
    { name: "vm.reset", request: { name: "vm1" }, status: 409 },
    { name: "vm.migrate", request: { name: "vm1" }, status: 409 },
    { name: "vm.migrate", request: { name: "vm1", cancel: true }, status: 409 },
    { name: "vm.set", request: { name: "vm1", priority: "high", antiAffinity: "db" } },
    { name: "vm.set", request: { name: "vm1", isolation: "leave" }, status: 400 },
    { name: "vm.set", request: { name: "vm1", isolation: "shut-down", storageLoss: "leave" } },
    { name: "vm.set", request: { name: "vm1", watchdog: "on" } },
    { name: "ha.show" },
    { name: "ha.set", request: { toleratedHosts: 0, admission: "refuse" } },
    { name: "ha.disarm", request: {} },
    { name: "ha.arm", request: {} },
    ...whatIfCalls,
    { name: "vm.protect", request: { name: "vm1" } },
    { name: "vm.unprotect", request: { name: "vm1" } },
    { name: "vm.why", request: { name: "vm1" } },
    { name: "vm.start", request: { name: "vm1" } },
    { name: "vm.stop", request: { name: "vm1" } },
    { name: "vm.kill", request: { name: "vm1" } },
    { name: "vm.delete", request: { name: "nobody" }, status: 404 },
    ...[...accessCalls, ...keyCalls],
    { name: "token.create", request: {}, status: 501 },
    { name: "events", request: { limit: 10 } },
  ];
}

test("every operation takes and answers what /openapi.json says", async (t) => {
  const host = await startHost(t, "1G");
  const { devices } = await host.cli<{ devices: readonly { deviceId: string }[] }>([
    "device",
    "list",
  ]);
  const api = await DescribedApi.open(host.api);
  const all = calls(devices[0]!.deviceId);
  for (const call of all) await api.call(call);
  const called = new Set(all.map(({ name }) => name));
  assert.deepEqual(
    Object.keys(routes).filter((name) => !called.has(name as OperationName)),
    [],
    "not called",
  );
  assert.equal(api.operationCount, called.size);
});
