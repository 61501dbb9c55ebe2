/**
 * Each code that the table of operations says somebody may be refused with: driven here on a host
 * that runs, or named with the test that shows it where it takes more than one host, a broken disk
 * or a moment that cannot be brought about from outside.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { operationNames, operationRow } from "../../src/host/api/operations.ts";
import type { OperationName } from "../../src/host/index.ts";
import { DescribedApi } from "./described-api.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import type { DevHost } from "./harness.ts";

const SOURCES = fileURLToPath(new URL("../../../", import.meta.url));
/** More than are tried again one after the other. */
const AT_ONCE = 60;
const START_MS_MAX = 60_000;

const SHOWN_ELSEWHERE: Readonly<Record<string, string>> = {
  "authority-away": "src/host/certificates/certificate-keeper.test.ts",
  "authority-elsewhere": "test/e2e/authority.test.ts",
  "cluster-key-invalid": "test/e2e/encryption.test.ts",
  "cluster-key-missing": "test/e2e/encryption.test.ts",
  "cluster-key-wrong": "test/e2e/encryption.test.ts",
  "connection-failed": "src/host/certificates/certificate-keeper.test.ts",
  "device-failed": "src/store/device-faults.test.ts",
  "device-foreign": "test/e2e/host-refusals.test.ts",
  "evacuation-too-large": "test/e2e/device-remove.test.ts",
  "ha-hosts-unheard": "src/host/machines/vm-control.test.ts",
  "host-unreachable": "src/host/volumes/volume-mover.test.ts",
  "host-in-use": "test/e2e/host-removal.test.ts",
  "hosts-outdated": "test/e2e/upgrade.test.ts",
  "key-domain-gone": "src/host/keys/key-keeper.test.ts",
  "no-space": "test/e2e/host-refusals.test.ts",
  "not-settled": "src/store/device-components.test.ts",
  "object-inaccessible": "src/plane/snapshots.test.ts",
  "policy-no-room": "src/plane/repair-room.test.ts",
  "rotation-contended": "src/cluster/record-limits.test.ts",
  "too-many-clients": "src/cluster/record-limits.test.ts",
  "too-many-tokens": "src/cluster/record-limits.test.ts",
  "upgrade-not-finalized": "test/e2e/upgrade.test.ts",
  "volume-in-use": "src/cluster/volumes.test.ts",
  "volume-of-vm": "src/host/volumes/volume-mover.test.ts",
};

/** What it is refused with, or "" if it is done. */
type Step = readonly [string, OperationName, object];

const SIZE = { sizeBytes: 64 << 20 };
const nobody = { name: "nobody" };
const snapshot = { name: "web1@monday" };
const machine = { name: "vm1", volumes: ["web1"], memoryBytes: 64 << 20 };

function each(code: string, names: readonly OperationName[], request: object): readonly Step[] {
  return names.map((name) => [code, name, request]);
}

const VOLUMES: readonly OperationName[] = [
  ...(["volume.show", "volume.delete", "volume.attach", "volume.detach"] as const),
  "volume.set",
];
const SNAPSHOTS: readonly OperationName[] = [
  ...(["snapshot.create", "snapshot.delete", "snapshot.rollback"] as const),
  "volume.changes",
];
const MACHINES: readonly OperationName[] = [
  ...(["vm.show", "vm.start", "vm.stop", "vm.kill", "vm.delete", "vm.set", "vm.migrate"] as const),
  ...(["vm.protect", "vm.unprotect", "vm.why", "vm.console", "vm.reset"] as const),
];
const HOSTS: readonly OperationName[] = [
  ...(["host.show", "host.maintenance-on", "host.maintenance-off"] as const),
  ...(["host.remove", "whatif.fail"] as const),
];

const strangers: readonly Step[] = [
  ...each("volume-not-found", VOLUMES, nobody),
  ["volume-not-found", "volume.resize", { ...nobody, ...SIZE }],
  ["volume-not-found", "volume.move", { ...nobody, host: "h1" }],
  ...each("volume-not-found", SNAPSHOTS, { name: "nobody@monday" }),
  ["volume-not-found", "volume.clone", { name: "nobody@monday", clone: "copy" }],
  ["volume-not-found", "snapshot.list", { volume: "nobody" }],
  ["volume-not-found", "vm.create", { ...machine, volumes: ["nobody"] }],
  ...each("vm-not-found", MACHINES, nobody),
  ["vm-not-found", "vm.type", { ...nobody, text: "ls" }],
  ...each("host-unknown", HOSTS, nobody),
  ...each("device-unknown", ["device.scrub", "device.remove", "device.keep"], { device: "none" }),
  ["check-unknown", "health.show", { check: "nothing" }],
  ["access-unknown", "access.revoke", { id: "0123456789abcdef" }],
  ["client-unknown", "client.delete", nobody],
  ["key-domain-unknown", "key-domain.destroy", nobody],
];

const volumes: readonly Step[] = [
  ["volume-name-invalid", "volume.create", { name: "a b", ...SIZE }],
  ["volume-size-invalid", "volume.create", { name: "odd", sizeBytes: 1000 }],
  ["policy-unsatisfiable", "volume.create", { name: "two", ...SIZE, failuresToTolerate: 1 }],
  ["", "volume.create", { name: "web1", ...SIZE }],
  ["volume-exists", "volume.create", { name: "web1", ...SIZE }],
  ["volume-shrink-unsupported", "volume.resize", { name: "web1", sizeBytes: 4096 }],
  ["volume-size-invalid", "volume.resize", { name: "web1", sizeBytes: 1000 }],
  ["policy-unsatisfiable", "volume.set", { name: "web1", failuresToTolerate: 1 }],
  ...each("volume-name-invalid", SNAPSHOTS, { name: "a b@monday" }),
  ["", "snapshot.create", snapshot],
  ["volume-exists", "snapshot.create", snapshot],
  ["snapshot-policy-fixed", "volume.set", { ...snapshot, stripes: 1 }],
  ["snapshot-unrelated", "volume.changes", { name: "web1", since: "monday" }],
  ["volume-exists", "volume.clone", { ...snapshot, clone: "web1" }],
  ["volume-name-invalid", "volume.clone", { ...snapshot, clone: "a b" }],
  ["volume-has-snapshots", "volume.delete", { name: "web1" }],
  ["host-unknown", "volume.attach", { name: "web1", host: "nobody" }],
  ["address-invalid", "volume.attach", { name: "web1", nbd: "192.0.2.1:7777", plain: true }],
  ["permission-denied", "volume.attach", { name: "web1", nbd: "/proc/web1.sock" }],
  ["", "volume.attach", { name: "web1" }],
  ...each("volume-attached", ["volume.attach", "volume.delete"], { name: "web1" }),
  ["volume-attached", "snapshot.rollback", snapshot],
  ["", "volume.move", { name: "web1", host: "h1" }],
  ["host-unknown", "volume.move", { name: "web1", host: "nobody" }],
  ["evacuation-impossible", "host.maintenance-on", { name: "h1", mode: "evacuate" }],
  ["host-up", "host.remove", { name: "h1" }],
  ["", "volume.detach", { name: "web1" }],
  ["volume-not-attached", "volume.detach", { name: "web1" }],
  ["volume-not-attached", "volume.move", { name: "web1", host: "h1" }],
];

const keysAndClients: readonly Step[] = [
  ["cluster-key-unused", "key.rotate", {}],
  ["", "volume.create", { name: "dark", sizeBytes: 8192, encrypted: true }],
  ["key-domain-in-use", "key-domain.destroy", { name: "default" }],
  ["encryption-fixed", "volume.set", { name: "web1", encrypted: true }],
  ["", "client.create", { name: "web", volumes: ["web1"], proof: "key" }],
  ["client-exists", "client.create", { name: "web", volumes: ["web1"], proof: "key" }],
  ...each("not-supported", ["certificate.show", "certificate.renew", "token.create"], {}),
  ["not-supported", "certificate.rotate-authority", {}],
];

const machines: readonly Step[] = [
  ["vm-name-invalid", "vm.create", { ...machine, name: "a b" }],
  ["", "vm.create", machine],
  ["vm-exists", "vm.create", machine],
  ...each("vm-runs-not", ["vm.migrate", "vm.console", "vm.reset"], { name: "vm1" }),
  ["vm-runs-not", "vm.type", { name: "vm1", text: "ls" }],
  ["vm-migration-refused", "vm.migrate", { name: "vm1", cancel: true }],
  ["vm-invalid", "vm.set", { name: "vm1", isolation: "leave" }],
  ["boot-file-refused", "vm.create", { name: "vm2", volumes: ["plain"], kernel: "/etc/passwd" }],
  ["boot-file-refused", "vm.set", { name: "vm1", firmware: "/etc/passwd" }],
  ["", "ha.set", { toleratedHosts: 1, admission: "refuse" }],
  ["admission-refused", "vm.start", { name: "vm1" }],
  ["", "ha.set", { admission: "off" }],
  ["", "vm.start", { name: "vm1" }],
  ["vm-running", "vm.delete", { name: "vm1" }],
];

async function take(api: DescribedApi, steps: readonly Step[]): Promise<void> {
  for (const [code, name, request] of steps)
    assert.equal(
      (await api.refusal(name, request)) ?? "",
      code,
      `${name} ${JSON.stringify(request)}`,
    );
}

async function takeDevices(api: DescribedApi, folder: string, host: DevHost): Promise<void> {
  const { devices } = await host.cli<{ devices: readonly { path: string }[] }>(["device", "list"]);
  const own = devices[0]!.path;
  const copy = path.join(folder, "copy");
  fs.cpSync(own, copy, { recursive: true });
  const file = path.join(folder, "file");
  fs.writeFileSync(file, "no device");
  const half = path.join(folder, "half");
  fs.mkdirSync(half);
  fs.writeFileSync(path.join(half, "journal"), "without data");
  await take(api, [
    ["device-in-use", "device.add", { path: own }],
    ["device-known", "device.add", { path: copy }],
    ["device-invalid", "device.add", { path: file }],
    ["device-incomplete", "device.add", { path: half }],
    ["device-missing", "device.add", { path: path.join(folder, "no", "such") }],
  ]);
}

async function takePort(api: DescribedApi): Promise<void> {
  const other = net.createServer().listen(0, "127.0.0.1");
  await new Promise((done) => other.once("listening", done));
  const { port } = other.address() as net.AddressInfo;
  const nbd = `127.0.0.1:${port}`;
  await take(api, [["address-in-use", "volume.attach", { name: "web1", nbd, plain: true }]]);
  await new Promise((done) => other.close(done));
}

/** The last of them are refused: each is tried again a few times. */
async function contend(
  api: DescribedApi,
  code: string,
  name: OperationName,
  requestOf: (i: number) => object,
): Promise<void> {
  const refused = await Promise.all(
    Array.from({ length: AT_ONCE }, (_, i) => api.refusal(name, requestOf(i))),
  );
  assert.deepEqual(new Set(refused), new Set([code, undefined]), name);
}

/** A machine whose socket for what is typed is gone. */
async function takeMachine(api: DescribedApi, host: DevHost): Promise<void> {
  const endMs = performance.now() + START_MS_MAX;
  for (;;) {
    const { state } = await host.cli<{ readonly state: string }>(["vm", "show", "vm1"]);
    if (state === "running") break;
    assert.ok(performance.now() < endMs, "it does not start");
  }
  await take(api, [["host-unknown", "vm.migrate", { name: "vm1", host: "nobody" }]]);
  fs.rmSync(path.join(host.dataFolder, "h1", "state", "vms", "vm1", "serial.sock"));
  await take(api, [["vm-unreachable", "vm.type", { name: "vm1", text: "ls" }]]);
}

test("each code of the table of operations is seen, here or in the test that is named", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const host = await startHost(t, "1G");
  const api = await DescribedApi.open(host.api);
  await take(api, [...strangers, ...volumes]);
  await takeDevices(api, temporaryFolder(t), host);
  await takePort(api);
  await take(api, [...keysAndClients, ...machines]);
  await contend(api, "object-contended", "settings.change", (i) => ({ rebuildsAtOnce: 1 + i }));
  await contend(api, "ha-contended", "ha.set", (i) => ({ toleratedHosts: i % 2 }));
  const levels = ["high", "low"];
  await contend(api, "vm-contended", "vm.set", (i) => ({ name: "vm1", priority: levels[i % 2] }));
  await takeMachine(api, host);
  await host.cli(["vm", "kill", "vm1"]);

  const codes = new Set(operationNames.flatMap((name) => operationRow(name).errors));
  const elsewhere = Object.keys(SHOWN_ELSEWHERE);
  assert.deepEqual(
    [...codes].filter((code) => !api.seen.has(code)).toSorted(),
    elsewhere.toSorted(),
    "neither seen here nor named with a test",
  );
  for (const [code, file] of Object.entries(SHOWN_ELSEWHERE)) {
    const text = fs.readFileSync(path.join(SOURCES, file), "utf8");
    assert.ok(text.includes(`"${code}"`), `${file} does not name ${code}`);
  }
  t.diagnostic(`${api.seen.size} codes seen, ${elsewhere.length} elsewhere`);
});
