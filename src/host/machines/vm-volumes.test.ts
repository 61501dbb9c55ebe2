import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { DataPlaneMethods, OfferOfVm } from "../data/data-plane-port.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { VolumeAttachRequest } from "../api/views.ts";
import { attachForVm, detachForVm, diskOfVm } from "./vm-volumes.ts";
import type { DiskOfVm } from "./vm-volumes.ts";

const disk = (vm: string): DiskOfVm => diskOfVm("/run/drystone", "disk", vm);

/** This host's attachment of one volume, and what was asked about it. */
function planeWith(at: { socket: string | undefined }) {
  const asked: string[] = [];
  const answers: Record<string, (argument: never) => unknown> = {
    attach: ({ vhostUser }: VolumeAttachRequest) => {
      if (at.socket !== undefined) throw new CodedError({ code: "volume-attached", message: "is" });
      at.socket = vhostUser;
      return { address: "/run/drystone/disk.sock" };
    },
    showVolume: () => ({
      attachment: {
        ...{ host: "h1", state: "online", address: "/run/drystone/disk.sock" },
        ...(at.socket === undefined ? {} : { vhostUser: { socket: at.socket } }),
      },
    }),
    expectNoMore: () => undefined,
    detachOf: ({ sockets }: OfferOfVm) => {
      if (at.socket === undefined || !sockets.includes(at.socket))
        throw new CodedError({ code: "volume-not-attached", message: "not here" });
      at.socket = undefined;
    },
  };
  const call = async (method: string, argument: unknown): Promise<unknown> => {
    asked.push(method);
    return answers[method]?.(argument as never);
  };
  const plane = { call } as unknown as Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  return { plane, asked };
}

test("a host that ends a machine which has moved lets go of its own attachment alone", async () => {
  const { plane, asked } = planeWith({ socket: undefined });
  await detachForVm(plane, disk("m1"));
  // `detach` would be passed on to the host that the machine has moved to.
  assert.deepEqual(asked, ["expectNoMore", "detachOf"]);
});

test("a start that fails takes no volume from the operator who has attached it", async () => {
  for (const socket of ["/run/operator.vhost", "/run/drystone/other.vhost"]) {
    const at = { socket };
    const { plane } = planeWith(at);
    await assert.rejects(attachForVm(plane, disk("m1"), "h1"), { code: "volume-attached" });
    await detachForVm(plane, disk("m1"));
    assert.equal(at.socket, socket);
  }
});

test("a machine is never served at the socket of another one, and never detaches it", async () => {
  const at: { socket: string | undefined } = { socket: undefined };
  const { plane } = planeWith(at);
  const first = await attachForVm(plane, disk("m1"), "h1");
  assert.deepEqual(await attachForVm(plane, disk("m1"), "h1"), first, "it may ask twice");
  await assert.rejects(attachForVm(plane, disk("m2"), "h1"), { code: "volume-attached" });
  await detachForVm(plane, disk("m2"));
  assert.equal(at.socket, first.vhostSocket);
  await detachForVm(plane, disk("m1"));
  assert.equal(at.socket, undefined);
});

test("a machine that an older version has started keeps its socket", async () => {
  const at: { socket: string | undefined } = { socket: "/run/drystone/disk.vhost" };
  const { plane } = planeWith(at);
  const { vhostSocket } = await attachForVm(plane, disk("m1"), "h1");
  assert.equal(vhostSocket, "/run/drystone/disk.vhost");
  await detachForVm(plane, disk("m1"));
  assert.equal(at.socket, undefined);
});
