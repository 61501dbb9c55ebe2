/** Checks of volumes, attachments, what clients see, and virtual machines. */
import { each } from "./health-check.ts";
import type { HealthCheck, HealthFacts, HealthFinding } from "./health-check.ts";
import type { AttachmentView, ComponentView, VmView, VolumeView } from "../api/views.ts";

const SLOW_MS = 1000;
/** Of a volume's requests. */
const SLOW_SHARE_HIGH = 0.01;
const SLOW_COUNT_MIN = 100;
const RESTARTS_HIGH = 3;
const RESTART_SPAN_MS = 15 * 60_000;

function isLeaf({ state }: ComponentView): boolean {
  return state !== "building" && state !== "joining";
}

/** Copies that are not what they should be; a lost copy is made up for by what is left. */
function redundancy(volume: VolumeView): readonly HealthFinding[] {
  const leaves = volume.components.filter(isLeaf);
  const lost = leaves.filter(({ state }) => state !== "active");
  if (!volume.accessible || lost.length === 0) return [];
  const building = volume.components.filter(({ state }) => state === "building").length;
  const returning = lost.filter(({ state }) => state === "catching-up").length;
  const what = lost.map(({ host, state }) => `${state} on ${host}`).join(", ");
  const isMending = returning + building >= lost.length;
  return [
    {
      subject: volume.name,
      message: `volume ${volume.name} has ${lost.length} of ${leaves.length} components ${what}`,
      ...(isMending
        ? { action: `nothing: it is ${building > 0 ? "being made anew" : "catching up"}` }
        : {}),
    },
  ];
}

/** Components that one more failure of a host would take from what is left. */
function onEdge(volume: VolumeView): boolean {
  if (!volume.accessible || volume.failuresToTolerate === 0) return false;
  const leaves = volume.components.filter(isLeaf);
  const active = leaves.filter(({ state }) => state === "active").length;
  return active < leaves.length && 2 * (active - 1) <= leaves.length;
}

function slowShare(volume: string, { stats }: HealthFacts): number {
  const io = stats?.volumes.find(({ name }) => name === volume)?.io;
  if (stats === undefined || io === undefined) return 0;
  const from = stats.latencyBoundsMs.indexOf(SLOW_MS) + 1;
  const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0);
  const all = io.reads.count + io.writes.count;
  if (all < SLOW_COUNT_MIN) return 0;
  return (sum(io.reads.buckets.slice(from)) + sum(io.writes.buckets.slice(from))) / all;
}

function faultCount(volume: string, { stats }: HealthFacts): number {
  const io = stats?.volumes.find(({ name }) => name === volume)?.io;
  return io === undefined ? 0 : io.reads.faults + io.writes.faults;
}

function actionForUnoffered({ volume, host }: AttachmentView, { vms, hosts }: HealthFacts): string {
  const vm = vms.find(({ volumes }) => volumes.includes(volume))?.name;
  if (vm !== undefined) return `nothing if its machine is to move: drystone why vm ${vm}`;
  const detach = `drystone volume detach ${volume}`;
  if (hosts.find(({ name }) => name === host)?.state === "down")
    return `start host ${host} again, or offer it on another one: ${detach}, then volume attach there`;
  return `free the address and start the host again, or: ${detach}`;
}

function restarts({ history }: VmView, nowMs: number): number {
  return history.filter(({ what, timeMs }) => {
    return nowMs - timeMs < RESTART_SPAN_MS && what === "started";
  }).length;
}

const volumeChecks: readonly HealthCheck[] = [
  {
    id: "object-inaccessible",
    severity: "failed",
    meaning: "Too few components of a volume are in reach: it is neither read nor written",
    action: "start the hosts that are down, or check the networks",
    find: ({ volumes }) =>
      each(
        volumes,
        ({ accessible }) => !accessible,
        ({ name, reason }) => ({
          subject: name,
          message: `volume ${name} is not accessible: ${reason ?? "unknown"}`,
          action: `drystone volume show ${name}`,
        }),
      ),
  },
  {
    id: "volume-degraded",
    severity: "degraded",
    meaning: "Components of a volume are away or behind; it is served from the others",
    action: "start the hosts that are down; components catch up by themselves",
    find: ({ volumes }) => volumes.flatMap(redundancy),
  },
  {
    id: "repair-blocked",
    severity: "degraded",
    meaning: "A component has to be made anew or to leave, and no device may take it",
    action: "start the hosts that are down, free space, or add a host or a device",
    find: ({ resyncs }) =>
      each(
        resyncs,
        ({ state }) => state === "blocked",
        ({ volume, reason }) => ({
          subject: volume,
          message: `volume ${volume} cannot be repaired: ${reason ?? "no device may take it"}`,
        }),
      ),
  },
  {
    id: "volume-on-edge",
    severity: "note",
    meaning: "One more failure makes a volume inaccessible",
    action: "bring back what is missing before anything is stopped or maintained",
    find: ({ volumes }) =>
      each(volumes, onEdge, ({ name }) => ({
        subject: name,
        message: `one more failure makes volume ${name} inaccessible`,
      })),
  },
  {
    id: "volume-unprotected",
    severity: "note",
    meaning: "A volume of a cluster has one copy: the loss of a host takes it away",
    action: "drystone volume set NAME --failures-to-tolerate 1",
    find: ({ hosts, volumes }) =>
      hosts.length < 3
        ? []
        : each(
            volumes,
            ({ failuresToTolerate }) => failuresToTolerate === 0,
            ({ name }) => ({ subject: name, message: `volume ${name} survives no failure` }),
          ),
  },
  {
    id: "few-fault-domains",
    severity: "note",
    meaning: "A volume needs all fault domains: a lost component has nowhere else to be made anew",
    action: "add a host in a fault domain of its own",
    find: ({ hosts, volumes }) => {
      const domains = new Set(hosts.map(({ faultDomain }) => faultDomain)).size;
      return each(
        volumes,
        ({ failuresToTolerate: count }) => count > 0 && domains <= 2 * count + 1,
        ({ name }) => ({
          subject: name,
          message: `volume ${name} uses all ${domains} fault domains`,
        }),
      );
    },
  },
];

const clientChecks: readonly HealthCheck[] = [
  {
    id: "attach-failed",
    severity: "degraded",
    meaning: "A volume that should be offered is not, because its address could not be had",
    action: "start its host if that is down, else free the address; or detach the volume",
    find: (facts) =>
      each(
        facts.attachments,
        ({ state }) => state === "failed",
        (attachment) => ({
          subject: attachment.volume,
          message:
            `volume ${attachment.volume} is not offered at ${attachment.address}: ` +
            `${attachment.reason ?? "unknown"}`,
          action: actionForUnoffered(attachment, facts),
        }),
      ),
  },
  {
    id: "volume-held",
    severity: "degraded",
    meaning: "Requests of a volume wait, since its host cannot serve it now",
    action: "start the hosts that are down, or check the networks; requests go on by themselves",
    find: ({ attachments }) =>
      each(
        attachments,
        ({ state }) => state === "holding",
        ({ volume, host, reason }) => ({
          subject: volume,
          message: `requests of volume ${volume} are held on ${host}: ${reason ?? "it is not served now"}`,
        }),
      ),
  },
  {
    id: "requests-failed",
    severity: "note",
    meaning: "Clients were answered with errors since the volume was attached",
    action: "drystone events says what happened; guests may have to check their file systems",
    find: (facts) =>
      each(
        facts.volumes,
        ({ name }) => faultCount(name, facts) > 0,
        ({ name }) => ({
          subject: name,
          message: `${faultCount(name, facts)} requests of volume ${name} were answered with an error`,
        }),
      ),
  },
  {
    id: "requests-slow",
    severity: "note",
    meaning: "More than 1 % of a volume's requests took longer than a second since it was attached",
    action: "look at the devices' load and at the storage network",
    find: (facts) =>
      each(
        facts.volumes,
        ({ name }) => slowShare(name, facts) > SLOW_SHARE_HIGH,
        ({ name }) => ({
          subject: name,
          message: `${(slowShare(name, facts) * 100).toFixed(1)} % of the requests of volume ${name} took longer than a second`,
        }),
      ),
  },
  {
    id: "read-only-attachment",
    severity: "note",
    meaning: "A volume is offered for reading only",
    action: "detach it and attach it without --read-only if that was not meant",
    find: ({ attachments }) =>
      each(
        attachments,
        ({ readOnly }) => readOnly,
        ({ volume }) => ({ subject: volume, message: `volume ${volume} is offered read-only` }),
      ),
  },
];

const vmChecks: readonly HealthCheck[] = [
  {
    id: "vm-waiting",
    severity: "degraded",
    meaning: "A virtual machine should run, and no host runs it",
    action: "drystone vm show says why; usually no host has room or its volume is not accessible",
    find: ({ vms }) =>
      each(
        vms,
        ({ state }) => state === "waiting",
        ({ name, history }) => ({
          subject: name,
          message: `virtual machine ${name} waits for a host: ${history.at(-1)?.because ?? "unknown"}`,
        }),
      ),
  },
  {
    id: "vm-unreadable",
    severity: "degraded",
    meaning: "The record of a virtual machine is damaged, or was written by a newer version",
    action: "upgrade this host, or restore the directory; until then the machine is left as it is",
    find: ({ unreadableVms = [] }) =>
      unreadableVms.map(({ name, reason }) => ({
        subject: name,
        message: `virtual machine ${name} is not looked after: ${reason}`,
      })),
  },
  {
    id: "vm-restarted-often",
    severity: "note",
    meaning: "A virtual machine was started three times or more within a quarter of an hour",
    action: "look at the machine's console, and at the hosts that it was started on",
    find: ({ vms, machine }) =>
      each(
        vms,
        (vm) => machine !== undefined && restarts(vm, machine.nowMs) >= RESTARTS_HIGH,
        ({ name }) => ({
          subject: name,
          message: `virtual machine ${name} was started several times within a quarter of an hour`,
        }),
      ),
  },
  {
    id: "vm-unprotected",
    severity: "note",
    meaning: "A virtual machine is not started elsewhere when its host fails",
    action: "define it without --unprotected if that was not meant",
    find: ({ vms }) =>
      each(
        vms,
        ({ isProtected, state }) => !isProtected && state === "running",
        ({ name }) => ({
          subject: name,
          message: `virtual machine ${name} is not started elsewhere when its host fails`,
        }),
      ),
  },
  {
    id: "vm-disk-unprotected",
    severity: "note",
    meaning: "A protected virtual machine has a disk with one copy: it may have nowhere to start",
    action: "give it disks that survive the failure of a host",
    find: ({ vms, volumes, hosts }) =>
      hosts.length < 3
        ? []
        : each(
            vms,
            (vm) =>
              vm.isProtected &&
              volumes.some((one) => vm.volumes.includes(one.name) && one.failuresToTolerate === 0),
            ({ name }) => ({
              subject: name,
              message: `virtual machine ${name} has a disk that survives no failure`,
            }),
          ),
  },
];

export const servedChecks: readonly HealthCheck[] = [...volumeChecks, ...clientChecks, ...vmChecks];
