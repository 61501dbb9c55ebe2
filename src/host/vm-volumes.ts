/** Volumes as disks of this host's virtual machines: offered at a socket that only QEMU uses. */
import { join } from "node:path";
import { CodedError } from "../base/index.ts";
import type { DataPlaneMethods } from "./data-plane-port.ts";
import type { RpcPeer } from "./rpc.ts";

type Plane = Pick<RpcPeer<object, DataPlaneMethods>, "call">;

/** Resolves with the socket. Fails as `volume attach` does. */
export async function attachForVm(
  plane: Plane,
  socketsPath: string,
  hostName: string,
  volume: string,
): Promise<string> {
  const vhostUser = join(socketsPath, `${volume}.vhost`);
  try {
    const { vhostUser: offered } = await plane.call("attach", { name: volume, vhostUser });
    return offered?.socket ?? vhostUser;
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== "volume-attached") throw error;
    // It may be offered here already, by this host before it was started again.
    const { attachment } = await plane.call("showVolume", volume);
    const socket = attachment?.vhostUser?.socket;
    if (attachment?.host === hostName && attachment.state === "online" && socket !== undefined)
      return socket;
    throw error;
  }
}

/** As `attachForVm`, for a machine that has not arrived: its requests wait for that. */
export async function expectForVm(
  plane: Plane,
  socketsPath: string,
  volume: string,
): Promise<string> {
  const vhostUser = join(socketsPath, `${volume}.vhost`);
  await plane.call("expect", { name: volume, vhostUser });
  return vhostUser;
}

/** Does nothing if this host neither offers nor expects it. */
export async function detachForVm(plane: Plane, hostName: string, volume: string): Promise<void> {
  try {
    await plane.call("expectNoMore", volume);
    const { attachment } = await plane.call("showVolume", volume);
    if (attachment?.host === hostName) await plane.call("detach", volume);
  } catch (error) {
    const codes = ["volume-not-attached", "volume-not-found"];
    if (!(error instanceof CodedError) || !codes.includes(error.code)) throw error;
  }
}
