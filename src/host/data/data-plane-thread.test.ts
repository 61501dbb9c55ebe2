import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import type { CodedError } from "../../base/index.ts";
import type { ControlMethods } from "./data-plane-port.ts";
import { DataPlaneThread } from "./data-plane-thread.ts";
import { memoryPlanOf } from "./memory-plan.ts";
import type { PlaneIdentity } from "./plane-world.ts";

const identity: PlaneIdentity = {
  clusterId: "c1".repeat(16),
  hostId: "40".repeat(16),
  hostName: "h1",
  devicesPath: "/nowhere",
  socketsPath: "/nowhere",
  memory: memoryPlanOf({ memoryBytes: 0, cluster: undefined }, 1),
  incarnation: 1,
  faultDomain: "h1",
  storageAddress: undefined,
  holdMs: undefined,
  trust: undefined,
  keyFile: "/nowhere/cluster.key",
  cut: undefined,
};

const refuse = (): Promise<never> => Promise.reject(new Error("nobody asks"));
const control: ControlMethods = {
  addEvent: refuse,
  verdictOn: refuse,
  seenHosts: refuse,
  log: refuse,
  directoryGet: refuse,
  directoryList: refuse,
  directoryStamp: refuse,
  directoryTransact: refuse,
  directoryWatch: refuse,
  directoryUnwatch: refuse,
  directoryGrantLease: refuse,
  directoryKeepAlive: refuse,
  directoryRevokeLease: refuse,
};

function worker(source: string): URL {
  const start = 'import { parentPort } from "node:worker_threads";';
  return new URL(`data:text/javascript,${encodeURIComponent(start + source)}`);
}

test("a worker that crashes rejects what waits and what comes, and says why", async () => {
  const entry = worker('parentPort.on("message", () => { throw new Error("boom"); });');
  let thread: DataPlaneThread | undefined;
  const death = new Promise<CodedError>((resolve) => {
    thread = new DataPlaneThread(identity, control, resolve, entry);
  });
  const waiting = thread!.peer.call("listDevices", undefined);
  await assert.rejects(waiting, { code: "data-worker-died" });
  const error = await death;
  assert.match(error.message, /the data worker ended unexpectedly: boom/);
  await assert.rejects(thread!.peer.call("listDevices", undefined), { code: "data-worker-died" });
  await assert.rejects(thread!.close(), { code: "data-worker-died" });
});

test("a worker that ends because it was closed is no death", async () => {
  const entry = worker(
    'parentPort.on("message", ({ id }) => {' +
      'parentPort.postMessage({ kind: "result", id }); setImmediate(() => parentPort.close()); });',
  );
  let deaths = 0;
  const thread = new DataPlaneThread(identity, control, () => void deaths++, entry);
  await thread.close();
  assert.equal(deaths, 0);
});
