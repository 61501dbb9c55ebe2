/** From what is known of devices and volumes to one word, the reasons for it, and what to do. */
import type { EventView, HealthReason, HealthWord } from "./views.ts";
import type { AttachmentView, DeviceView, HostView, VolumeView } from "./views.ts";

/** Below this share of free space new data is about to be refused. */
const FREE_SHARE_LOW = 0.05;

export interface HealthFacts {
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
    ...facts.hosts.flatMap(hostFindings),
    ...(facts.devices.length === 0 ? [noDevice()] : []),
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
  const name = `device ${device.deviceId.slice(0, 8)} (${device.path})`;
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

/** A host that can be heard on one of the two networks only is not simply down. */
function hostFindings(host: HostView): Finding[] {
  const { name, state, reason = "it cannot be reached", storageAddress, apiAddress } = host;
  const finding = (code: string, message: string, action: string): Finding[] => {
    return [{ word: "degraded", code, message, action }];
  };
  if (state === "down" && host.management === "up")
    return finding(
      "host-cut-off",
      `host ${name} runs, and cannot be reached over the storage network: ${reason}`,
      `check the network to ${storageAddress ?? apiAddress}`,
    );
  if (state === "down")
    return finding(
      "host-down",
      `host ${name} is down: ${reason}`,
      `start it again, or check the network to ${storageAddress ?? apiAddress}`,
    );
  if (host.management !== "down") return [];
  return finding(
    "host-cut-off",
    `host ${name} answers over the storage network, and has no lease in the directory`,
    `check its management network, to ${apiAddress} and from there to the directory`,
  );
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
