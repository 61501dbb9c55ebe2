/** The handlers that are about repairs, settings, and hosts and devices that leave. */
import { CodedError } from "../../base/index.ts";
import { changeSettings, dropService, readSettings } from "../../cluster/index.ts";
import type { ClusterSettings } from "../../cluster/index.ts";
import type { Directory } from "../../ports/index.ts";
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import { findPeer } from "../peers/find-peer.ts";
import type { Handlers } from "../api/http-api.ts";
import type { DeviceAddRequest, SettingsChangeRequest, SettingsView } from "./repair-views.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { DeviceView, Done } from "../api/views.ts";

export interface ServiceControlWorld {
  readonly addDevice: (device: DeviceAddRequest) => Promise<DeviceView>;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
}

type ServiceHandlers = Pick<
  Handlers,
  | "resync.list"
  | "settings.show"
  | "settings.change"
  | "host.maintenance-on"
  | "host.maintenance-off"
  | "device.remove"
  | "device.keep"
  | "device.add"
>;

const SECOND_MS = 1000;

export function serviceHandlers(world: ServiceControlWorld): ServiceHandlers {
  const { directory, clusterId, plane } = world;
  return {
    "resync.list": async () => ({ resyncs: await plane.call("listResyncs", undefined) }),
    "settings.show": async () => viewOf(await readSettings(directory, clusterId)),
    "settings.change": async (request) =>
      viewOf(await changeSettings(directory, clusterId, changeOf(request))),
    "host.maintenance-on": ({ name, mode, dryRun }) =>
      plane.call("takeOut", {
        kind: "host",
        name,
        mode: mode ?? "ensure-accessibility",
        isDryRun: dryRun === true,
      }),
    "host.maintenance-off": ({ name }) => bringBackHost(world, name),
    "device.remove": ({ device, dryRun }) =>
      plane.call("takeOut", {
        kind: "device",
        name: device,
        mode: "evacuate",
        isDryRun: dryRun === true,
      }),
    "device.add": ({ path, sizeBytes }) =>
      world.addDevice({ path, ...(sizeBytes === undefined ? {} : { sizeBytes }) }),
    "device.keep": ({ device }) => bringBackDevice(world, device),
  };
}

async function bringBackHost(
  { directory, clusterId, plane }: ServiceControlWorld,
  name: string,
): Promise<Done> {
  const host = await findPeer(plane, name);
  await dropService(directory, clusterId, host.hostId);
  return { done: true };
}

async function bringBackDevice(
  { directory, clusterId, plane }: ServiceControlWorld,
  device: string,
): Promise<Done> {
  const devices = await plane.call("listDevices", undefined);
  const found = devices.filter(({ deviceId }) => deviceId.startsWith(device));
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new CodedError({
      code: "device-unknown",
      message: `${found.length} devices have an id that begins with "${device.slice(0, 64)}"`,
      hint: "run drystone device list",
    });
  await dropService(directory, clusterId, only.deviceId);
  return { done: true };
}

function viewOf(settings: ClusterSettings): SettingsView {
  const { repairDelayMs, offersFingerprints, ...rest } = settings;
  return {
    ...rest,
    repairDelaySeconds: repairDelayMs / SECOND_MS,
    fingerprints: offersFingerprints ? "on" : "off",
  };
}

function changeOf(request: SettingsChangeRequest): Partial<ClusterSettings> {
  const { repairDelaySeconds, fingerprints, ...rest } = request;
  return {
    ...rest,
    ...(repairDelaySeconds === undefined ? {} : { repairDelayMs: repairDelaySeconds * SECOND_MS }),
    ...(fingerprints === undefined ? {} : { offersFingerprints: fingerprints === "on" }),
  };
}
