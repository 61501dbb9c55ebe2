import assert from "node:assert/strict";
import { CodedError } from "../../base/index.ts";
import { putDevice } from "../../cluster/index.ts";
import type { DeviceRecord } from "../../cluster/index.ts";
import { DirectoryWorld } from "../../../test/support/directory-world.ts";
import { test } from "../../../test/support/test.ts";
import type { PlaneWorld } from "./plane-world.ts";
import { refusedDevice } from "./refused-device.ts";

const CLUSTER = "c1".repeat(16);
const HOST = "40".repeat(16);
const DEVICE = "d5".repeat(16);
const PATH = "/dev/one";

/** What a host of a cluster makes of a device at `PATH` that cannot be opened. */
async function outcomeOf(
  state: DeviceRecord["state"],
  { code = "device-missing", path = PATH, isAlone = false } = {},
): Promise<string> {
  let outcome = "";
  await DirectoryWorld.run(async ({ directory }) => {
    const numbers = { sizeBytes: 2 ** 30, freeBytes: 2 ** 29, incarnation: 3, frame: 12 };
    const record = { deviceId: DEVICE, hostId: HOST, path: PATH, state, ...numbers };
    assert.notEqual(await putDevice(directory, CLUSTER, record, 0), undefined);
    const storageAddress = isAlone ? {} : { storageAddress: "10.0.0.1:7401" };
    const identity = { clusterId: CLUSTER, hostId: HOST, hostName: "a", ...storageAddress };
    const events: string[] = [];
    const world = {
      directory,
      identity,
      addEvent: ({ kind }: { kind: string }) => events.push(kind),
    };
    // What is left out is not looked at.
    const part = world as unknown as PlaneWorld;
    const error = new CodedError({ code, message: "no such device" });
    const told = await refusedDevice(part, path, error).catch((thrown: unknown) => thrown);
    if (told === error) outcome = "the host does not start";
    else {
      assert.deepEqual(events, ["device-refused"]);
      assert.equal((told as { deviceId: string }).deviceId, DEVICE);
      outcome = "the host starts without it";
    }
  });
  return outcome;
}

test("a host starts without a device that it had, however often, and whatever was known of it", async () => {
  for (const state of ["online", "missing", "failed"] as const)
    assert.equal(await outcomeOf(state), "the host starts without it", state);
});

test("a host starts without a device whose metadata or disk fail", async () => {
  for (const code of ["metadata-failed", "device-invalid", "device-shrunk", "gone", "write-error"])
    assert.equal(await outcomeOf("online", { code }), "the host starts without it", code);
});

test("a host does not start without a device for other reasons", async () => {
  const refused = "the host does not start";
  assert.equal(await outcomeOf("lost"), refused, "another device has taken its place");
  assert.equal(await outcomeOf("online", { path: "/dev/two" }), refused, "it never had that one");
  assert.equal(await outcomeOf("online", { code: "device-in-use" }), refused, "it will be free");
  assert.equal(await outcomeOf("online", { isAlone: true }), refused, "nobody has copies");
});
