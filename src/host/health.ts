/** From what is known of devices and volumes to one word, the reasons for it, and what to do. */
import type { EventView, HealthReason, HealthWord } from "./views.ts";
import type { AttachmentView, DeviceView, HostView, VolumeView } from "./views.ts";

/** Below this share of free space new data is about to be refused. */
const FREE_SHARE_LOW = 0.05;

export interface HealthFacts {
  /** The host that judges. */
  readonly hostId: string;
  readonly hosts: readonly HostView[];
  readonly devices: readonly DeviceView[];
  readonly volumes: readonly VolumeView[];
  readonly attachments: readonly AttachmentView[];
  /**
   * The newest event of each kind of fault since the host started or the device was scrubbed clean.
   */
  readonly faults: readonly EventView[];
}

interface Finding extends HealthReason {
  readonly word: HealthWord;
}

export function judgeHealth(facts: HealthFacts): {
  readonly health: HealthWord;
  readonly reasons: readonly HealthReason[];
} {
  const findings = [
    ...hostFindings(facts),
    ...(hasDevice(facts) ? [] : [noDevice()]),
    ...facts.devices.flatMap(deviceFindings),
    ...facts.volumes.filter(({ accessible }) => !accessible).map(inaccessible),
    ...facts.volumes.filter(({ accessible }) => accessible).flatMap(redundancy),
    ...facts.attachments.filter(({ state }) => state === "failed").map(notOffered),
    ...facts.attachments.filter(({ state }) => state === "holding").map(held),
    ...facts.faults.map(faultFinding),
  ];
  const reasons = findings.map(({ code, message, action }) => ({ code, message, action }));
  if (findings.some(({ word }) => word === "failed")) return { health: "failed", reasons };
  return { health: findings.length === 0 ? "healthy" : "degraded", reasons };
}

function hasDevice({ hostId, hosts, devices }: HealthFacts): boolean {
  const own = hosts.find((host) => host.hostId === hostId)?.name;
  return devices.some(({ host }) => host === own);
}

function noDevice(): Finding {
  return {
    word: "degraded",
    code: "no-device",
    message: "this host gives no device to the cluster",
    action: "add one under devices in its configuration and start it again",
  };
}

function deviceFindings(device: DeviceView): Finding[] {
  const findings: Finding[] = [];
  const name = `device ${device.deviceId.slice(0, 8)} (${device.path} on ${device.host})`;
  if (device.state === "failed") {
    findings.push({
      word: "failed",
      code: "device-failed",
      message: `${name} takes no writes: ${device.reason ?? "unknown"}`,
      action: "check the disk (dmesg, smartctl), then start the host again",
    });
  }
  if (device.damagedBlocks > 0) {
    findings.push({
      word: "degraded",
      code: "damaged-blocks",
      message: `${name} has ${device.damagedBlocks} damaged blocks; reading them fails`,
      action: "check the disk; drystone events says which blocks; writing them again repairs them",
    });
  }
  if (device.freeBytes < device.capacityBytes * FREE_SHARE_LOW) {
    findings.push({
      word: "degraded",
      code: "almost-full",
      message: `${name} is almost full`,
      action: "delete or discard data, or add a device",
    });
  }
  return findings;
}

/** All others out of reach on one network, but alive on the other, is one cable: this host's. */
function hostFindings({ hostId, hosts }: HealthFacts): Finding[] {
  const others = hosts.filter((host) => host.hostId !== hostId);
  const isAlone = (state: HostView["state"]): boolean =>
    others.length > 1 && others.every((host) => host.state === state);
  if (isAlone("storage-unreachable")) return [isolated("storage")];
  if (isAlone("management-unreachable")) return [isolated("management")];
  return others.flatMap((host) => {
    if (host.state === "down") return [hostDown(host)];
    if (host.state === "up") return host.lease === "lost" ? [withoutLease(host)] : [];
    return [halfReached(host, host.state)];
  });
}

function withoutLease({ name, apiAddress }: HostView): Finding {
  return {
    word: "degraded",
    code: "host-without-lease",
    message: `host ${name} answers, and has no lease in the directory`,
    action: `check its way to the directory: drystone status --api of ${apiAddress} tells more`,
  };
}

function isolated(network: "storage" | "management"): Finding {
  return {
    word: "degraded",
    code: `${network}-isolated`,
    message: `this host reaches no other host over the ${network} network`,
    action: `check this host's cable and address on the ${network} network`,
  };
}

function halfReached(
  host: HostView,
  state: "storage-unreachable" | "management-unreachable",
): Finding {
  const network = state === "storage-unreachable" ? "storage" : "management";
  return {
    word: "degraded",
    code: state,
    message: `host ${host.name} runs, but is out of reach over the ${network} network: ${host.reason ?? "unknown"}`,
    action: `check the ${network} network between this host and ${host.name}; nothing needs to be started`,
  };
}

function hostDown(host: HostView): Finding {
  return {
    word: "degraded",
    code: "host-down",
    message: `host ${host.name} is down: ${host.reason ?? "it cannot be reached"}`,
    action: `start it again, or check the network to ${host.storageAddress ?? host.apiAddress}`,
  };
}

/** Copies that are not what they should be; a lost copy is made up for by what is left. */
function redundancy(volume: VolumeView): Finding[] {
  const leaves = volume.components.filter(({ state }) => state !== "building");
  const lost = leaves.filter(({ state }) => state !== "active");
  if (lost.length === 0) return [];
  const building = volume.components.length - leaves.length;
  const returning = lost.filter(({ state }) => state === "catching-up").length;
  const what = lost.map(({ host, state }) => `${state} on ${host}`).join(", ");
  return [
    {
      word: "degraded",
      code: "volume-degraded",
      message: `volume ${volume.name} has ${lost.length} of ${leaves.length} components ${what}`,
      action:
        returning + building >= lost.length
          ? `nothing: it is ${building > 0 ? "being made anew" : "catching up"}`
          : "start the hosts that are down; components catch up by themselves",
    },
  ];
}

function inaccessible(volume: VolumeView): Finding {
  return {
    word: "failed",
    code: "object-inaccessible",
    message: `volume ${volume.name} is not accessible: ${volume.reason ?? "unknown"}`,
    action: `drystone volume show ${volume.name}`,
  };
}

function notOffered(attachment: AttachmentView): Finding {
  return {
    word: "degraded",
    code: "attach-failed",
    message: `volume ${attachment.volume} is not offered at ${attachment.address}: ${attachment.reason ?? "unknown"}`,
    action: `free the address and start the host again, or: drystone volume detach ${attachment.volume}`,
  };
}

function held(attachment: AttachmentView): Finding {
  return {
    word: "degraded",
    code: "volume-held",
    message: `requests of volume ${attachment.volume} are held on ${attachment.host}: ${attachment.reason ?? "it is not served now"}`,
    action: "start the hosts that are down, or check the networks; requests go on by themselves",
  };
}

function faultFinding(event: EventView): Finding {
  const device = String(event.details["deviceId"] ?? "").slice(0, 8);
  return {
    word: "degraded",
    code: event.kind,
    message: `device ${device}: ${event.message}`,
    action: `check the disk (dmesg, smartctl), then: drystone device scrub ${device}`,
  };
}
