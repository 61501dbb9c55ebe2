/** Checks of hosts, networks, the directory and the machine of the host that judges. */
import { formatSize } from "../../base/index.ts";
import { each } from "./health-check.ts";
import type { HealthCheck, HealthFacts, HealthFinding } from "./health-check.ts";
import type { HostView } from "../api/views.ts";

const DAY_MS = 24 * 3600 * 1000;
const CERTIFICATE_DAYS_LOW = 30;
const STATE_FREE_BYTES_LOW: number = 512 * 2 ** 20;

type Half = "storage-unreachable" | "management-unreachable";

function others({ hostId, hosts }: HealthFacts): readonly HostView[] {
  return hosts.filter((host) => host.hostId !== hostId);
}

function self({ hostId, hosts }: HealthFacts): HostView | undefined {
  return hosts.find((host) => host.hostId === hostId);
}

/** All others out of reach on one network, but alive on the other, is one cable: this host's. */
function isIsolated(facts: HealthFacts, state: Half): boolean {
  const all = others(facts);
  return all.length > 1 && all.every((host) => host.state === state);
}

function halfReached(state: Half): HealthCheck {
  const network = state === "storage-unreachable" ? "storage" : "management";
  return {
    id: state,
    severity: "degraded",
    meaning: `A host runs, and is out of reach over the ${network} network`,
    action: `check the ${network} network between the two hosts; nothing needs to be started`,
    find: (facts) => {
      if (isIsolated(facts, state)) return [];
      return each(
        others(facts),
        (host) => host.state === state,
        ({ name, reason = "unknown" }) => ({
          subject: name,
          message: `host ${name} runs, but is out of reach over the ${network} network: ${reason}`,
          action: `check the ${network} network between this host and ${name}; nothing needs to be started`,
        }),
      );
    },
  };
}

function isolated(network: "storage" | "management"): HealthCheck {
  return {
    id: `${network}-isolated`,
    severity: "degraded",
    meaning: `The host that judges reaches no other host over the ${network} network`,
    action: `check this host's cable and address on the ${network} network`,
    find: (facts) =>
      isIsolated(facts, `${network}-unreachable`)
        ? [
            {
              subject: "self",
              message: `this host reaches no other host over the ${network} network`,
            },
          ]
        : [],
  };
}

export const hostChecks: readonly HealthCheck[] = [
  {
    id: "host-down",
    severity: "degraded",
    meaning: "A host is reached on no network",
    action: "start it again, or check the network to it",
    find: (facts) =>
      each(
        others(facts),
        ({ state }) => state === "down",
        ({ name, reason, storageAddress, apiAddress }) => ({
          subject: name,
          message: `host ${name} is down: ${reason ?? "it cannot be reached"}`,
          action: `start it again, or check the network to ${storageAddress ?? apiAddress}`,
        }),
      ),
  },
  halfReached("storage-unreachable"),
  halfReached("management-unreachable"),
  isolated("storage"),
  isolated("management"),
  {
    id: "host-without-lease",
    severity: "degraded",
    meaning: "A host answers and has lost its lease in the directory: it may own nothing",
    action: "check its way to the directory",
    find: (facts) =>
      each(
        others(facts),
        ({ state, lease }) => state === "up" && lease === "lost",
        ({ name, apiAddress }) => ({
          subject: name,
          message: `host ${name} answers, and has no lease in the directory`,
          action: `check its way to the directory: drystone status --api of ${apiAddress} tells more`,
        }),
      ),
  },
  {
    id: "directory-unavailable",
    severity: "degraded",
    meaning: "The directory cannot be asked: what is attached goes on, nothing new is decided",
    action: "check the host or the etcd that keeps the directory, and the way to it",
    find: (facts) =>
      self(facts)?.lease === "unknown"
        ? [{ subject: "directory", message: "the directory cannot be asked from this host" }]
        : [],
  },
  {
    id: "own-lease-lost",
    severity: "degraded",
    meaning: "The host that judges has lost its lease: it may own nothing until it has one again",
    action: "check its way to the directory; it takes a lease again by itself",
    find: (facts) =>
      self(facts)?.lease === "lost"
        ? [{ subject: "self", message: "this host has no lease in the directory" }]
        : [],
  },
  {
    id: "host-in-maintenance",
    severity: "note",
    meaning: "A host was taken out of service: nothing new is placed on it",
    action: "when the work is done: drystone host maintenance off",
    find: ({ hosts }) =>
      each(
        hosts,
        ({ maintenance }) => maintenance !== undefined,
        ({ name }) => ({
          subject: name,
          message: `host ${name} is in maintenance`,
          action: `when the work is done: drystone host maintenance off ${name}`,
        }),
      ),
  },
  {
    id: "one-network",
    severity: "note",
    meaning: "There is no second network: a cut storage network cannot be told from a dead host",
    action: "give hosts a cluster.managementAddress on another network",
    find: ({ hosts }) =>
      hosts.length > 1 && hosts.every(({ management }) => management === undefined)
        ? [{ subject: "cluster", message: "hosts watch one another on one network only" }]
        : [],
  },
  {
    id: "two-hosts",
    severity: "note",
    meaning: "With two hosts no volume can have a witness: one host's failure stops mirrors",
    action: "add a third host; a small one that holds witnesses is enough",
    find: ({ hosts }) =>
      hosts.length === 2 ? [{ subject: "cluster", message: "the cluster has two hosts" }] : [],
  },
  {
    id: "state-almost-full",
    severity: "degraded",
    meaning: "The file system with the host's state has next to no room; the host would stop",
    action: "make room on the file system of stateDir",
    find: ({ machine }) =>
      machine !== undefined && machine.stateFreeBytes < STATE_FREE_BYTES_LOW
        ? [
            {
              subject: "self",
              message: `the file system of this host's state has ${formatSize(machine.stateFreeBytes)} free`,
            },
          ]
        : [],
  },
  {
    id: "memory-short",
    severity: "degraded",
    meaning: "The host plans to have more memory than there is: the kernel would end it under load",
    action: "make `memory` in its configuration smaller and start it again, or give it more",
    find: ({ machine }) =>
      machine !== undefined && machine.memory.planBytes > machine.memory.limitBytes
        ? [
            {
              subject: "self",
              message: `this host plans to have ${formatSize(machine.memory.planBytes)} in memory, and there are ${formatSize(machine.memory.limitBytes)}`,
            },
          ]
        : [],
  },
  {
    id: "memory-unused",
    severity: "note",
    meaning: "The host may have more memory than its devices can use: each uses 6 GiB at most",
    action: "make `memory` in its configuration smaller, or add a device",
    find: ({ machine }) =>
      machine !== undefined && machine.memory.usedBytes < machine.memory.configuredBytes
        ? [
            {
              subject: "self",
              message: `this host uses ${formatSize(machine.memory.usedBytes)} of the ${formatSize(machine.memory.configuredBytes)} that \`memory\` says`,
            },
          ]
        : [],
  },
  {
    id: "certificate-ending",
    severity: "degraded",
    meaning: "The host's certificate ends within a month; afterwards no other host lets it in",
    action: "start a host that has tls/ca.key, then: drystone certificate renew",
    find: ({ machine }) => certificateFindings(machine?.certificateEndsMs, machine?.nowMs ?? 0),
  },
  {
    id: "versions-mixed",
    severity: "note",
    meaning: "Hosts run different versions of Drystone: all use what the older ones know",
    action: "upgrade the older hosts, one after the other, each when all volumes are protected",
    find: ({ hosts, clusterVersion }) => {
      const newest = Math.max(...hosts.map(({ clusterVersion: knows = 0 }) => knows));
      if (clusterVersion === undefined) return [];
      return each(
        hosts,
        ({ clusterVersion: knows = 0 }) => knows < newest,
        ({ name }) => ({ subject: name, message: `host ${name} runs an older version` }),
      );
    },
  },
  {
    id: "upgrade-not-finalized",
    severity: "note",
    meaning: "All hosts run a newer version of Drystone, and use the formats of the one before",
    action: "when the upgrade is not to be taken back any more: drystone upgrade finalize",
    find: ({ hosts, clusterVersion }) => {
      if (clusterVersion === undefined || hosts.length === 0) return [];
      const isDone = hosts.some(({ clusterVersion: knows = 0 }) => knows <= clusterVersion);
      const message = `the cluster uses formats of version ${clusterVersion}, all know newer ones`;
      return isDone ? [] : [{ subject: "cluster", message }];
    },
  },
  {
    id: "authority-waits",
    severity: "degraded",
    meaning: "The replacement of the cluster's authority waits for a host that does not go on",
    action: "start that host: drystone certificate show tells how far each one is",
    find: ({ rotation, hosts }) =>
      (rotation?.waitsFor ?? []).flatMap(({ host, reason }) => {
        const isUp = hosts.some(({ name, state }) => name === host && state === "up");
        if (isUp && reason === undefined) return [];
        return [
          {
            subject: host,
            message: `the authority is not replaced yet: host ${host} ${reason ?? "does not run"}`,
            action: `start ${host}; if it does not come back: drystone host remove ${host}`,
          },
        ];
      }),
  },
  {
    id: "cluster-key-away",
    severity: "degraded",
    meaning: "The host has no cluster key that it can use, and so cannot serve encrypted volumes",
    action: "copy the key file from a host that has it: drystone key show tells which ones do",
    find: ({ machine, volumes }) =>
      machine?.keyReason !== undefined && volumes.some(({ encryption }) => encryption !== undefined)
        ? [{ subject: "self", message: machine.keyReason }]
        : [],
  },
];

function certificateFindings(endsMs: number | undefined, nowMs: number): readonly HealthFinding[] {
  if (endsMs === undefined) return [];
  const days = Math.floor((endsMs - nowMs) / DAY_MS);
  if (days >= CERTIFICATE_DAYS_LOW) return [];
  return [{ subject: "self", message: `this host's certificate is good for ${days} more days` }];
}
