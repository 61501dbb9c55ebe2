/**
 * One screen in the order in which somebody asks who was woken up: state, what is the matter, what
 * to do, what is going on already, then the tree of hosts and devices with their counts of errors.
 */
import { rotationText } from "./render-certificate.ts";
import { byName, formatSize } from "../base/index.ts";
import type {
  AttachmentView,
  DeviceView,
  HealthWord,
  HostView,
  ResyncView,
  StatusView,
} from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Colour, Output } from "./output.ts";
import { seenTable } from "./render-networks.ts";
import { timeText } from "./render-repair.ts";

export const HEALTH_COLOURS: Readonly<Record<HealthWord, Colour>> = {
  healthy: "green",
  degraded: "yellow",
  failed: "red",
};
const LABEL_WIDTH = 9;
/** It is one screen: of more of a kind it says how many there are, and where they are shown. */
const OF_A_KIND_MAX = 5;
const ATTACHED_MAX = 20;

export function statusLines(status: StatusView, output: Output): string[] {
  const { health, reasons, directory, attachments, conditions, views = [] } = status;
  return [
    line("state", output.style(HEALTH_COLOURS[health], health)),
    ...reasonLines(reasons),
    ...conditions.flatMap(({ kind, message, meaning, action }) => [
      line("network", `${kind.replaceAll("-", " ")}: ${message}`),
      line("means", meaning),
      line("action", action),
    ]),
    ...status.resyncs.slice(0, OF_A_KIND_MAX).map((resync) => line("resync", progressText(resync))),
    ...more("resync", status.resyncs.length - OF_A_KIND_MAX, "drystone resync list"),
    ...status.devices.flatMap(({ deviceId, host, scrubShare }) => {
      if (scrubShare === undefined) return [];
      const share = Math.floor(100 * scrubShare);
      return [line("scrub", `device ${deviceId.slice(0, 8)} on ${host}, ${share} % read`)];
    }),
    line("capacity", capacityText(status)),
    line("volumes", `${status.volumeCount}, ${attachments.length} attached`),
    ...(directory === undefined
      ? []
      : [
          line(
            "directory",
            directory.members.map(({ host, state }) => `${host} ${state}`).join(", "),
          ),
        ]),
    ...(status.rotation === undefined ? [] : [line("authority", rotationText(status.rotation))]),
    ...upgradeLine(status),
    line("asked", `drystone ${status.version}, up ${formatDuration(status.uptimeMs)}`),
    "",
    ...hostTree(status, output),
    ...(conditions.length === 0 ? [] : ["", ...seenTable(views, output)]),
    ...(attachments.length === 0 ? [] : ["", ...attachmentTable(attachments, output)]),
    ...more("attached", attachments.length - ATTACHED_MAX, "drystone volume list"),
    "",
    line("errors", errorText(status.devices)),
  ];
}

/** What is to be done is said once for all that it is good for. */
function reasonLines(reasons: StatusView["reasons"]): string[] {
  const kinds = new Map<string, StatusView["reasons"][number][]>();
  for (const reason of reasons) {
    const kind = kinds.get(reason.code) ?? [];
    kind.push(reason);
    kinds.set(reason.code, kind);
  }
  return [...kinds].flatMap(([code, all]) => {
    const shown = all.slice(0, OF_A_KIND_MAX);
    return [
      ...shown.flatMap(({ message, action }, index) => [
        line("status", message),
        ...(action === shown[index + 1]?.action ? [] : [line("action", action)]),
      ]),
      ...more("status", all.length - OF_A_KIND_MAX, `drystone health show ${code}`),
    ];
  });
}

/** If there are more than were shown. */
function more(label: string, count: number, command: string): string[] {
  return count <= 0 ? [] : [line(label, `and ${count} more: \`${command}\` shows all`)];
}

/** Labels end in one column, so that what they say begins in one. */
function line(label: string, text: string): string {
  return `${label.padStart(LABEL_WIDTH)}: ${text}`;
}

function progressText(resync: ResyncView): string {
  const { kind, volume, state, from, host, share, bytesSent, bytesSkipped, secondsLeft } = resync;
  return [
    `${kind} of ${volume}, ${from === undefined || from === host ? `on ${host}` : `${from} -> ${host}`}`,
    ...(state === "running" ? [] : [resync.reason ?? state]),
    ...(share === undefined ? [] : [`${(100 * share).toFixed(0)} % looked at`]),
    `${formatSize(bytesSent)} sent`,
    ...(bytesSkipped === 0 ? [] : [`${formatSize(bytesSkipped)} were there already`]),
    ...(secondsLeft === undefined ? [] : [`${timeText(secondsLeft)} left`]),
  ].join(", ");
}

/** Only while an upgrade is under way. */
function upgradeLine({ hosts, clusterVersion }: StatusView): readonly string[] {
  if (clusterVersion === undefined) return [];
  const newer = hosts.filter(({ clusterVersion: knows = 0 }) => knows > clusterVersion);
  if (newer.length === 0) return [];
  const isWhole = newer.length === hosts.length;
  const older = hosts.filter((host) => !newer.includes(host)).map(({ name }) => name);
  return [
    line(
      "upgrade",
      isWhole
        ? "all hosts run the new version: `drystone upgrade finalize` ends it"
        : `${newer.length} of ${hosts.length} run the new version, not yet ${older.join(", ")}`,
    ),
  ];
}

function capacityText({ capacity }: StatusView): string {
  const { capacityBytes, freeBytes, usedBytes } = capacity;
  const share = capacityBytes === 0 ? 0 : (100 * usedBytes) / capacityBytes;
  return (
    `${formatSize(usedBytes)} used of ${formatSize(capacityBytes)} (${share.toFixed(1)} %), ` +
    `${formatSize(freeBytes)} free`
  );
}

function hostTree({ hosts, devices }: StatusView, output: Output): string[] {
  const titles = ["NAME", "STATE", "STORAGE", "MANAGEMENT", "FREE>", "READ>", "CKSUM>"];
  const rows = byName(hosts);
  return table(
    output,
    [...titles, "DAMAGED>", "WHERE"],
    rows.flatMap((host) => [
      hostRow(host),
      ...devices.filter((device) => device.host === host.name).map(deviceRow),
    ]),
  );
}

function hostRow(host: HostView): readonly string[] {
  const { name, state, maintenance, storage, management, apiAddress } = host;
  return [
    name,
    maintenance === undefined ? state : `${state}, in maintenance`,
    storage ?? "-",
    management ?? "-",
    ...["", "", "", ""],
    apiAddress,
  ];
}

function deviceRow(device: DeviceView): readonly string[] {
  const { deviceId, state, isLeaving, freeBytes, reason, path } = device;
  return [
    `  ${deviceId.slice(0, 8)}`,
    isLeaving === true ? `${state}, leaving` : state,
    ...["", "", formatSize(freeBytes)],
    ...[device.readErrors, device.checksumErrors, device.damagedBlocks].map(String),
    reason ?? path,
  ];
}

function errorText(devices: readonly DeviceView[]): string {
  const damaged = devices.reduce((sum, { damagedBlocks }) => sum + damagedBlocks, 0);
  return damaged === 0
    ? "no known data errors"
    : `${damaged} stored blocks are damaged: \`drystone health show damaged-blocks\``;
}

function attachmentTable(attachments: readonly AttachmentView[], output: Output): string[] {
  return table(
    output,
    ["VOLUME", "HOST", "STATE", "ACCESS", "NBD ADDRESS"],
    attachments
      .toSorted((a, b) => Number(a.state === "online") - Number(b.state === "online"))
      .slice(0, ATTACHED_MAX)
      .map((attachment) => [
        attachment.volume,
        attachment.host,
        attachment.state,
        attachment.readOnly ? "read-only" : "read-write",
        attachment.address,
      ]),
  );
}

export function formatDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
