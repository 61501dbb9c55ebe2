import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { ObjectRecord } from "../../cluster/index.ts";
import type { CallAnswer } from "../../link/index.ts";
import type { AttachmentRecord } from "./attachment-records.ts";
import { VolumeMover } from "./volume-mover.ts";
import type { VolumeMoverWorld } from "./volume-mover.ts";
import type { AttachmentView } from "../api/views.ts";

const RECORD = { objectId: "o1", name: "v" } as unknown as ObjectRecord; // Nobody looks further.
const AT: AttachmentRecord = {
  objectId: "o1",
  volume: "v",
  hostId: "h1",
  nbd: "/run/v.sock",
  readOnly: false,
  tls: false,
  attachmentId: "a1",
  isHolding: false,
};

const viewAt = (host: string): AttachmentView => ({
  ...{ volume: "v", host, kind: "nbd", address: "/run/v.sock", uri: "nbd+unix:///v" },
  ...{ tls: false, readOnly: false, state: "online" },
});

/** Host h1 of three, of which h3 is not heard. */
function mover(at: AttachmentRecord | undefined): {
  readonly move: (host: string) => Promise<AttachmentView>;
  readonly log: string[];
} {
  const log: string[] = [];
  const world: VolumeMoverWorld = {
    hostId: "h1",
    hosts: { find: (name) => ({ hostId: name, name }) as never },
    links: {
      handle: () => undefined,
      peer: (hostId) => ({ hostId, isUp: hostId !== "h3" }) as never,
      call: async (hostId, method, argument): Promise<CallAnswer> => {
        log.push(`${method} at ${hostId}: ${JSON.stringify(argument)}`);
        if (hostId === "h9") throw new CodedError({ code: "address-in-use", message: "no" });
        return { result: viewAt(hostId) };
      },
    },
    attachments: {
      find: async () => at,
      view: () => (at?.hostId === "h1" ? viewAt("h1") : undefined),
      handOver: async (_volume, to, take) => {
        log.push(`given to ${to.hostId}`);
        return await take();
      },
    },
    find: async () => RECORD,
    exclusive: (_name, task) => task(),
  };
  const it = new VolumeMover(world);
  return { move: (host) => it.move({ name: "v", host }), log };
}

test("a volume is given up first, and then taken, as it was offered", async () => {
  const { move, log } = mover({ ...AT, readOnly: true });
  assert.equal((await move("h2")).host, "h2");
  assert.deepEqual(log, ["given to h2", 'volume.attach at h2: {"name":"v","readOnly":true}']);
});

test("the host that has it is the one that moves it", async () => {
  const { move, log } = mover({ ...AT, hostId: "h2" });
  await move("h1");
  assert.deepEqual(log, ['volume.move at h2: {"name":"v","host":"h1"}']);
});

test("nothing is given up for a host that is not heard, nor where it is already", async () => {
  const { move, log } = mover(AT);
  await assert.rejects(move("h3"), { code: "host-unreachable", message: /stays where it is/ });
  assert.equal((await move("h1")).host, "h1");
  assert.deepEqual(log, []);
});

test("what the other host is refused is told", async () => {
  await assert.rejects(mover(AT).move("h9"), { code: "address-in-use" });
});

test("what is attached nowhere, or to a machine, does not move", async () => {
  await assert.rejects(mover(undefined).move("h2"), { code: "volume-not-attached" });
  const vhostUser = { path: "/run/v.vhost", queues: 1 } as never;
  const { move, log } = mover({ ...AT, vhostUser });
  await assert.rejects(move("h2"), { code: "volume-of-vm", message: /virtual machine/ });
  assert.deepEqual(log, []);
});
