/** Volumes as disks of this host's virtual machines: offered at sockets that only QEMU uses. */
import { join } from "node:path";
import { CodedError, encodeUtf8, sha256, toHex } from "../../base/index.ts";
import type { DiskSockets } from "../../ports/index.ts";
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { AttachmentView } from "../api/views.ts";

/** Machine and volume, in the name of a socket: names are too long for its path. */
const HASHED_BYTES = 8;

type Plane = Pick<RpcPeer<object, DataPlaneMethods>, "call">;

/** A volume as a disk of one machine, which alone is served at its sockets. */
export interface DiskOfVm {
  readonly volume: string;
  readonly socket: string;
  /** Where older versions offered it: such a machine may still run. */
  readonly olderSocket: string;
}

export function diskOfVm(socketsPath: string, volume: string, vm: string): DiskOfVm {
  const hash = toHex(sha256(encodeUtf8(`${vm}/${volume}`)).subarray(0, HASHED_BYTES));
  const socket = join(socketsPath, `vm-${hash}.vhost`);
  return { volume, socket, olderSocket: join(socketsPath, `${volume}.vhost`) };
}

function socketsOf({ socket, olderSocket }: DiskOfVm): readonly string[] {
  return [socket, olderSocket];
}

/** Fails as `volume attach` does, also where it is attached here for anybody else. */
export async function attachForVm(
  plane: Plane,
  disk: DiskOfVm,
  hostName: string,
): Promise<DiskSockets> {
  const { volume, socket } = disk;
  try {
    return diskSockets(await plane.call("attach", { name: volume, vhostUser: socket }), socket);
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== "volume-attached") throw error;
    // It may be offered here already, by this host before it was started again.
    const { attachment } = await plane.call("showVolume", volume);
    const isHere = attachment?.host === hostName && attachment.state === "online";
    const at = attachment?.vhostUser?.socket;
    if (isHere && at !== undefined && socketsOf(disk).includes(at))
      return diskSockets(attachment, at);
    throw error;
  }
}

/** Its NBD listener is a socket's path, or an address that is not for machines. */
function diskSockets({ address }: AttachmentView, vhostSocket: string): DiskSockets {
  return address.startsWith("/") ? { vhostSocket, nbdSocket: address } : { vhostSocket };
}

/** As `attachForVm`, for a machine that has not arrived: its requests wait for that. */
export async function expectForVm(
  plane: Plane,
  { volume, socket }: DiskOfVm,
): Promise<DiskSockets> {
  await plane.call("expect", { name: volume, vhostUser: socket });
  return { vhostSocket: socket };
}

/**
 * Does nothing if this host neither offers it to the machine nor expects it for that: a start that
 * fails takes it away neither from an operator nor from another machine. A machine that has moved
 * is served by another host, of which this one may not have heard yet: that one keeps the volume.
 */
export async function detachForVm(plane: Plane, disk: DiskOfVm): Promise<void> {
  const wanted = { name: disk.volume, sockets: socketsOf(disk) };
  try {
    await plane.call("expectNoMore", wanted);
    await plane.call("detachOf", wanted);
  } catch (error) {
    const codes = ["volume-not-attached", "volume-not-found"];
    if (!(error instanceof CodedError) || !codes.includes(error.code)) throw error;
  }
}
