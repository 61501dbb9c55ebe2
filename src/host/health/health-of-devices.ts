/** Checks of devices and of room on them. */
import { each } from "./health-check.ts";
import type { HealthCheck, HealthFacts } from "./health-check.ts";
import type { DeviceView } from "../api/views.ts";

/** Below this share of free space new data is about to be refused. */
const FREE_SHARE_LOW = 0.05;
const FREE_SHARE_FILLING = 0.2;
const RECLAIMABLE_SHARE_HIGH = 0.25;

/** Kinds of device events that are shown until the device was scrubbed clean. */
export const FAULT_KINDS = [
  "block-damaged",
  "metadata-damaged",
  "journal-repaired",
  "superblock-repaired",
] as const;

const faultMeanings: Readonly<Record<(typeof FAULT_KINDS)[number], string>> = {
  "block-damaged": "A block on a device has another checksum than when it was written",
  "metadata-damaged": "A device's own records were damaged",
  "journal-repaired": "The journal of a device was damaged where nothing acknowledged was lost",
  "superblock-repaired": "A copy of a device's superblock was damaged and written again",
};

function nameOf(device: DeviceView): string {
  return `device ${device.deviceId.slice(0, 8)} (${device.path} on ${device.host})`;
}

function faultCheck(kind: (typeof FAULT_KINDS)[number]): HealthCheck {
  return {
    id: kind,
    severity: "degraded",
    meaning: faultMeanings[kind],
    action: `check the disk (dmesg, smartctl), then scrub the device; a clean scrub clears it${
      kind === "block-damaged" ? ", and so does that what was written again reads well" : ""
    }`,
    find: ({ faults }) =>
      each(
        faults,
        (event) => event.kind === kind,
        ({ message, details }) => {
          const device = String(details["deviceId"] ?? "").slice(0, 8);
          return {
            subject: device,
            message: `device ${device}: ${message}`,
            action: `check the disk (dmesg, smartctl), then: drystone device scrub ${device}`,
          };
        },
      ),
  };
}

function onDevices(
  check: Omit<HealthCheck, "find">,
  isSo: (device: DeviceView) => boolean,
  text: (device: DeviceView) => string,
): HealthCheck {
  return {
    ...check,
    find: ({ devices }) =>
      each(devices, isSo, (device) => ({
        subject: device.deviceId,
        message: `${nameOf(device)} ${text(device)}`,
      })),
  };
}

function freeShare({ freeBytes, capacityBytes }: DeviceView): number {
  return capacityBytes === 0 ? 1 : freeBytes / capacityBytes;
}

/** Whether what is stored fits into what is left when the largest host is lost. */
function hasSpareRoom({ devices }: HealthFacts): boolean {
  const byHost = new Map<string, { capacity: number; used: number }>();
  for (const { host, capacityBytes, freeBytes } of devices) {
    const sum = byHost.get(host) ?? { capacity: 0, used: 0 };
    sum.capacity += capacityBytes;
    sum.used += capacityBytes - freeBytes;
    byHost.set(host, sum);
  }
  if (byHost.size < 2) return true;
  const all = [...byHost.values()];
  const used = all.reduce((sum, one) => sum + one.used, 0);
  const capacity = all.reduce((sum, one) => sum + one.capacity, 0);
  return used <= capacity - Math.max(...all.map((one) => one.capacity));
}

export const deviceChecks: readonly HealthCheck[] = [
  {
    id: "no-device",
    severity: "degraded",
    meaning: "The host that judges gives no device to the cluster",
    action: "add one under devices in its configuration and start it again",
    find: ({ hostId, hosts, devices }) => {
      const own = hosts.find((host) => host.hostId === hostId)?.name;
      if (devices.some(({ host }) => host === own)) return [];
      return [{ subject: "self", message: "this host gives no device to the cluster" }];
    },
  },
  onDevices(
    {
      id: "device-failed",
      severity: "failed",
      meaning: "A device takes no writes; nothing on it counts as a copy",
      action: "check the disk (dmesg, smartctl), then start the host again",
    },
    ({ state }) => state === "failed",
    ({ reason }) => `takes no writes: ${reason ?? "unknown"}`,
  ),
  onDevices(
    {
      id: "damaged-blocks",
      severity: "degraded",
      meaning: "A device has blocks that are known to be damaged; reading them there fails",
      action: "check the disk; drystone events says which blocks; writing them again repairs them",
    },
    ({ damagedBlocks }) => damagedBlocks > 0,
    ({ damagedBlocks }) => `has ${damagedBlocks} damaged blocks; reading them fails`,
  ),
  onDevices(
    {
      id: "device-leaving",
      severity: "note",
      meaning: "A device was told to be removed: what is on it moves to others",
      action: "drystone resync list tells how far it is; drystone device keep takes it back",
    },
    ({ isLeaving }) => isLeaving === true,
    ({ componentCount }) => `is being removed; ${componentCount} components are left on it`,
  ),
  ...FAULT_KINDS.map(faultCheck),
  onDevices(
    {
      id: "read-errors",
      severity: "degraded",
      meaning: "A device refused reads since its host started; copies stood in",
      action: "check the disk (dmesg, smartctl); replace it if it goes on",
    },
    ({ readErrors }) => readErrors > 0,
    ({ readErrors }) => `refused ${readErrors} reads`,
  ),
  onDevices(
    {
      id: "checksum-errors",
      severity: "note",
      meaning: "A device gave back other bytes than were written, since its host started",
      action: "check the disk; scrub the device to find what else is damaged",
    },
    ({ checksumErrors }) => checksumErrors > 0,
    ({ checksumErrors }) => `gave back ${checksumErrors} blocks with a wrong checksum`,
  ),
  onDevices(
    {
      id: "almost-full",
      severity: "degraded",
      meaning: "A device has less than 5 % free: new data is about to be refused",
      action: "delete or discard data, or add a device",
    },
    (device) => freeShare(device) < FREE_SHARE_LOW,
    () => "is almost full",
  ),
  onDevices(
    {
      id: "device-filling",
      severity: "note",
      meaning: "A device has less than 20 % free",
      action: "plan for another device",
    },
    (device) => freeShare(device) < FREE_SHARE_FILLING && freeShare(device) >= FREE_SHARE_LOW,
    (device) => `has ${Math.round(freeShare(device) * 100)} % free`,
  ),
  onDevices(
    {
      id: "reclaim-behind",
      severity: "note",
      meaning: "More than a quarter of a device waits to be given back",
      action: "nothing: it is reclaimed in the background; if it grows, the device is overloaded",
    },
    ({ reclaimableBytes, capacityBytes }) =>
      reclaimableBytes > capacityBytes * RECLAIMABLE_SHARE_HIGH,
    () => "has more than a quarter of its space to reclaim",
  ),
  onDevices(
    {
      id: "slow-adapter",
      severity: "note",
      meaning: "A device is used without io_uring, which costs throughput",
      action: "use a kernel with io_uring allowed (sysctl kernel.io_uring_disabled)",
    },
    ({ adapter, state }) => state === "online" && adapter !== "io_uring",
    ({ adapter }) => `is used through ${adapter}`,
  ),
  {
    id: "no-spare-room",
    severity: "note",
    meaning: "If the largest host is lost, what is stored does not fit on the others",
    action: "add devices, so that lost copies can be made anew",
    find: (facts) =>
      hasSpareRoom(facts)
        ? []
        : [
            {
              subject: "cluster",
              message: "the loss of the largest host could not be made up for",
            },
          ],
  },
  {
    id: "devices-uneven",
    severity: "note",
    meaning: "Some hosts give devices to the cluster and others give none",
    action: "a host without devices can run machines; add devices if that was not meant",
    find: ({ hosts, devices }) =>
      each(
        hosts,
        ({ name, state }) =>
          state === "up" && devices.length > 0 && !devices.some(({ host }) => host === name),
        ({ name }) => ({ subject: name, message: `host ${name} gives no device to the cluster` }),
      ),
  },
];
