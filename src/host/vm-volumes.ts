/** Volumes as disks of this host's virtual machines: offered at sockets that only QEMU uses. */
import { join } from "node:path";
import { CodedError } from "../base/index.ts";
import type { DiskSockets } from "../ports/index.ts";
import type { DataPlaneMethods } from "./data-plane-port.ts";
import type { RpcPeer } from "./rpc.ts";
import type { AttachmentView } from "./views.ts";

type Plane = Pick<RpcPeer<object, DataPlaneMethods>, "call">;

/** Fails as `volume attach` does. */
export async function attachForVm(
  plane: Plane,
  socketsPath: string,
  hostName: string,
  volume: string,
): Promise<DiskSockets> {
  const vhostUser = join(socketsPath, `${volume}.vhost`);
  try {
    return socketsOf(await plane.call("attach", { name: volume, vhostUser }), vhostUser);
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== "volume-attached") throw error;
    // It may be offered here already, by this host before it was started again.
    const { attachment } = await plane.call("showVolume", volume);
    const isHere = attachment?.host === hostName && attachment.state === "online";
    if (isHere && attachment.vhostUser !== undefined) return socketsOf(attachment, vhostUser);
    throw error;
  }
}

/** Its NBD listener is a socket's path, or an address that is not for machines. */
function socketsOf({ vhostUser, address }: AttachmentView, expected: string): DiskSockets {
  const vhostSocket = vhostUser?.socket ?? expected;
  return address.startsWith("/") ? { vhostSocket, nbdSocket: address } : { vhostSocket };
}

/** As `attachForVm`, for a machine that has not arrived: its requests wait for that. */
export async function expectForVm(
  plane: Plane,
  socketsPath: string,
  volume: string,
): Promise<DiskSockets> {
  const vhostUser = join(socketsPath, `${volume}.vhost`);
  await plane.call("expect", { name: volume, vhostUser });
  return { vhostSocket: vhostUser };
}

/**
 * Does nothing if this host neither offers nor expects it. A machine that has moved is served by
 * another host, of which this one may not have heard yet: that one keeps the volume.
 */
export async function detachForVm(plane: Plane, volume: string): Promise<void> {
  try {
    await plane.call("expectNoMore", volume);
    await plane.call("detachHere", volume);
  } catch (error) {
    const codes = ["volume-not-attached", "volume-not-found"];
    if (!(error instanceof CodedError) || !codes.includes(error.code)) throw error;
  }
}
