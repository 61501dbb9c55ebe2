/** Both networks: storage 10.1, management 10.2. */
import type { Prng } from "../base/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { drawDurationMs } from "./host-faults.ts";
import { shuffled } from "./names.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

type Paths = (readonly [string, string])[];
type Side = "storage" | "management";

export function storagePaths(from: readonly TrialHost[], to: readonly TrialHost[]): Paths {
  return from.flatMap((a) =>
    to.filter((b) => b !== a).map((b): [string, string] => [a.storageAddress, b.storageAddress]),
  );
}

/** Towards the directory, and back. */
export function managementPaths(
  world: TrialWorld,
  hosts: readonly TrialHost[],
): { to: Paths; back: Paths } {
  const { host } = world.directory;
  return {
    to: hosts.map((one): [string, string] => [one.managementAddress, host]),
    back: hosts.map((one): [string, string] => [host, one.managementAddress]),
  };
}

function cut(world: TrialWorld, what: string, paths: Paths, durationMs: number): Fault {
  return { what, durationMs, end: world.cuts.cut(paths) };
}

function isolate(world: TrialWorld, host: TrialHost, sides: readonly Side[]): Paths {
  const others = world.hosts.filter((one) => one !== host);
  const { to, back } = managementPaths(world, [host]);
  return [
    ...(sides.includes("storage")
      ? [...storagePaths([host], others), ...storagePaths(others, [host])]
      : []),
    ...(sides.includes("management") ? [...to, ...back] : []),
  ];
}

function anyNetwork(
  name: string,
  begin: (world: TrialWorld, prng: Prng) => Fault | undefined,
): FaultKind {
  return { name, needs: "any-host", begin };
}

export const NETWORK_FAULTS: readonly FaultKind[] = [
  anyNetwork("storage-cut", (world, prng) => {
    const host = prng.pick(world.hosts);
    const paths = isolate(world, host, ["storage"]);
    return cut(world, `storage network of ${host.name} cut`, paths, drawDurationMs(prng));
  }),
  anyNetwork("management-cut", (world, prng) => {
    const host = prng.pick(world.hosts);
    const paths = isolate(world, host, ["management"]);
    return cut(world, `management network of ${host.name} cut`, paths, drawDurationMs(prng));
  }),
  anyNetwork("host-isolated", (world, prng) => {
    const host = prng.pick(world.hosts);
    const paths = isolate(world, host, ["storage", "management"]);
    return cut(world, `${host.name} isolated`, paths, drawDurationMs(prng));
  }),
  anyNetwork("owner-isolated", (world, prng) => {
    const owner = world.hosts.find((host) =>
      world.volumes.some(({ objectId }) => host.owns(objectId)),
    );
    if (owner === undefined) return undefined;
    const paths = isolate(world, owner, ["storage", "management"]);
    return cut(world, `owner ${owner.name} isolated`, paths, prng.between(6000, 12_000));
  }),
  anyNetwork("storage-one-way", (world, prng) => {
    const host = prng.pick(world.hosts);
    const others = world.hosts.filter((one) => one !== host);
    const isOutward = prng.chance(0.5);
    const paths = isOutward ? storagePaths([host], others) : storagePaths(others, [host]);
    const what = `storage network ${isOutward ? "from" : "to"} ${host.name} cut`;
    return cut(world, what, paths, drawDurationMs(prng));
  }),
  anyNetwork("management-one-way", (world, prng) => {
    const host = prng.pick(world.hosts);
    const { to, back } = managementPaths(world, [host]);
    const isOutward = prng.chance(0.5);
    const what = `management network ${isOutward ? "from" : "to"} ${host.name} cut`;
    return cut(world, what, isOutward ? to : back, drawDurationMs(prng));
  }),
  anyNetwork("storage-pair-cut", (world, prng) => {
    const [a, b] = shuffled(prng, world.hosts);
    if (a === undefined || b === undefined) return undefined;
    const paths = [...storagePaths([a], [b]), ...storagePaths([b], [a])];
    return cut(world, `storage between ${a.name} and ${b.name} cut`, paths, drawDurationMs(prng));
  }),
  anyNetwork("storage-split", (world, prng) => {
    const order = shuffled(prng, world.hosts);
    const size = prng.between(1, order.length - 1);
    const group = order.slice(0, size);
    const others = order.slice(size);
    const paths = [...storagePaths(group, others), ...storagePaths(others, group)];
    const names = group.map(({ name }) => name).join(", ");
    return cut(world, `storage network splits: ${names} | the others`, paths, drawDurationMs(prng));
  }),
  anyNetwork("both-split", (world, prng) => {
    const order = shuffled(prng, world.hosts);
    const size = prng.between(1, order.length - 1);
    const group = order.slice(0, size);
    const others = order.slice(size);
    const { to, back } = managementPaths(world, group);
    const storage = [...storagePaths(group, others), ...storagePaths(others, group)];
    const names = group.map(({ name }) => name).join(", ");
    const what = `both networks split: ${names} | the others and the directory`;
    return cut(world, what, [...storage, ...to, ...back], drawDurationMs(prng));
  }),
  anyNetwork("flapping-link", (world, prng) => {
    const [a, b] = shuffled(prng, world.hosts);
    if (a === undefined || b === undefined) return undefined;
    const paths = [...storagePaths([a], [b]), ...storagePaths([b], [a])];
    const durationMs = drawDurationMs(prng);
    const endMs = world.simulation.nowMs + durationMs;
    let mend: (() => void) | undefined;
    const flap = (): void => {
      mend?.();
      mend = mend === undefined ? world.cuts.cut(paths) : undefined;
      if (world.simulation.nowMs < endMs && !world.isHealing)
        world.simulation.clock.after(prng.between(20, 900), flap);
      else mend?.();
    };
    flap();
    return { what: `link between ${a.name} and ${b.name} flaps`, durationMs, end: () => {} };
  }),
  anyNetwork("connections-reset", (world, prng) => {
    const [a, b] = shuffled(prng, world.hosts);
    if (a === undefined || b === undefined) return undefined;
    world.fabric.resetStreams(a.storageAddress, b.storageAddress);
    const what = `connections between ${a.name} and ${b.name} reset`;
    return { what, durationMs: 0, end: () => {} };
  }),
  {
    name: "network-slow",
    needs: "either",
    begin: (world, prng) => {
      if (!world.claim("latency")) return undefined;
      const before = world.fabric.latency;
      world.fabric.latency = { minMs: 1, maxMs: prng.between(20, 500) };
      return {
        what: `latency to ${world.fabric.latency.maxMs} ms`,
        durationMs: drawDurationMs(prng),
        end: () => {
          world.fabric.latency = before;
          world.release("latency");
        },
      };
    },
  },
  {
    name: "packets-lost",
    needs: "either",
    begin: (world, prng) => {
      if (!world.claim("loss")) return undefined;
      world.fabric.lossRate = prng.pick([0.01, 0.05, 0.2]);
      return {
        what: `${world.fabric.lossRate * 100} % of packets lost`,
        durationMs: drawDurationMs(prng),
        end: () => {
          world.fabric.lossRate = 0;
          world.release("loss");
        },
      };
    },
  },
];
