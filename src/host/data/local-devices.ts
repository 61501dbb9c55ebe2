/** The devices of this host as the plane needs them. */
import { BLOCK_SIZE_BYTES, CodedError } from "../../base/index.ts";
import type { LocalDevices } from "../../plane/index.ts";
import { heldContents, ReadThrough } from "../../store/index.ts";
import type { DeviceSet } from "./device-set.ts";

export function localDevices(devices: DeviceSet): LocalDevices {
  return {
    heldContents: (deviceId, fingerprints) =>
      heldContents(devices.byId(deviceId).device, fingerprints),
    readThrough: (deviceId) => new ReadThrough(devices.byId(deviceId).device),
    component: (componentId) => devices.component(componentId),
    allocate: (lengthBytes) => devices.allocate(lengthBytes),
    create: async ({ deviceId, ...component }) => {
      await devices.byId(deviceId).device.createComponent(component);
    },
    remove: (componentId) => devices.remove(componentId),
    fork: async (fork) => {
      const opened = devices.deviceOf(fork.sourceId);
      if (opened === undefined) throw missingComponent(fork.sourceId);
      await opened.device.forkComponent(fork);
    },
    grow: async (componentId, blockCount) => {
      const opened = devices.deviceOf(componentId);
      if (opened === undefined) throw missingComponent(componentId);
      await opened.device.resizeComponent(componentId, blockCount * BLOCK_SIZE_BYTES);
    },
    list: () => devices.list(),
    storedBytes: () => devices.componentBytes(),
    heldBy: (deviceId) =>
      devices
        .byId(deviceId)
        .device.components()
        .map(({ componentId }) => componentId),
    undecided: () => devices.undecidedObjects(),
    distrust: (deviceId, incarnation) => devices.byId(deviceId).device.distrust(incarnation),
  };
}

function missingComponent(componentId: string): CodedError {
  return new CodedError({
    code: "object-inaccessible",
    message: `component ${componentId} is on none of this host's open devices`,
    hint: "drystone device list shows which devices are open",
  });
}
