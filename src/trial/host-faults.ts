/** Hosts, their clocks, and the machine of the directory. */
import type { Prng } from "../base/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

const SHORT_MS = 300;
const LONG_MS = 12_000;

/** The host that the plan allows this fault for, if nothing else is being done to it. */
export function pickHost(world: TrialWorld, prng: Prng, aspect: string): TrialHost | undefined {
  const { sickHost } = world.plan.faults;
  const host = sickHost === undefined ? prng.pick(world.hosts) : world.host(sickHost);
  return world.claim(`${aspect} of ${host.name}`) ? host : undefined;
}

/** Mostly short, at times long enough for leases to end. */
export function drawDurationMs(prng: Prng): number {
  return prng.chance(0.6) ? prng.between(SHORT_MS, 3000) : prng.between(3000, LONG_MS);
}

export function bringBack(world: TrialWorld, host: TrialHost): void {
  world.release(`life of ${host.name}`);
  if (host.isOff && !host.isLost) host.start();
}

/** Takes a host away, until the fault ends. */
function down(
  world: TrialWorld,
  prng: Prng,
  host: TrialHost | undefined,
  how: "kill" | "cutPower",
): Fault | undefined {
  if (host === undefined) return undefined;
  if (host.isOff) {
    world.release(`life of ${host.name}`);
    return undefined;
  }
  host[how]();
  return {
    what: `${how} ${host.name}`,
    durationMs: drawDurationMs(prng),
    end: () => bringBack(world, host),
  };
}

export function ownerHost(world: TrialWorld, prng: Prng): TrialHost | undefined {
  const owners = world.hosts.filter((host) =>
    world.volumes.some(({ objectId }) => host.owns(objectId)),
  );
  if (owners.length === 0) return undefined;
  const host = prng.pick(owners);
  return world.claim(`life of ${host.name}`) ? host : undefined;
}

function pause(
  world: TrialWorld,
  host: TrialHost | undefined,
  durationMs: number,
): Fault | undefined {
  if (host === undefined) return undefined;
  const { machine } = host;
  machine.pause();
  return {
    what: `pause ${host.name}`,
    durationMs,
    end: () => {
      world.release(`life of ${host.name}`);
      machine.resume();
    },
  };
}

export const HOST_FAULTS: readonly FaultKind[] = [
  {
    name: "process-killed",
    needs: "either",
    begin: (world, prng) => down(world, prng, pickHost(world, prng, "life"), "kill"),
  },
  {
    name: "power-cut",
    needs: "either",
    begin: (world, prng) => down(world, prng, pickHost(world, prng, "life"), "cutPower"),
  },
  {
    name: "owner-killed",
    needs: "any-host",
    begin: (world, prng) => down(world, prng, ownerHost(world, prng), "kill"),
  },
  {
    name: "owner-power-cut",
    needs: "any-host",
    begin: (world, prng) => down(world, prng, ownerHost(world, prng), "cutPower"),
  },
  {
    name: "all-power-cut",
    needs: "any-host",
    begin: (world, prng) => {
      const hosts = world.hosts.filter(
        (host) => !host.isOff && world.claim(`life of ${host.name}`),
      );
      for (const host of hosts) host.cutPower();
      return {
        what: "power cut everywhere",
        durationMs: drawDurationMs(prng),
        end: () => {
          for (const host of hosts) bringBack(world, host);
        },
      };
    },
  },
  {
    name: "host-paused",
    needs: "either",
    begin: (world, prng) => pause(world, pickHost(world, prng, "life"), drawDurationMs(prng)),
  },
  {
    name: "owner-paused",
    needs: "any-host",
    begin: (world, prng) => pause(world, ownerHost(world, prng), prng.between(4000, LONG_MS)),
  },
  {
    name: "clock-jumps",
    needs: "either",
    begin: (world, prng) => {
      const { machine, name } = prng.pick(world.hosts);
      const { clock } = machine;
      clock.wallOffsetMs += (prng.below(2000) - 1000) * 3600;
      return { what: `the wall clock of ${name} jumps`, durationMs: 0, end: () => {} };
    },
  },
  {
    name: "hand-over",
    needs: "any-host",
    begin: (world, prng) => {
      const { objectId } = prng.pick(world.volumes);
      const host = world.hosts.find((one) => one.owns(objectId));
      host?.handOver(objectId);
      const what = `${host?.name ?? "nobody"} gives ${objectId.slice(-4)} up`;
      return { what, durationMs: 0, end: () => {} };
    },
  },
  {
    name: "directory-power-cut",
    needs: "any-host",
    begin: (world, prng) => {
      if (!world.claim("directory")) return undefined;
      world.directory.cutPower();
      return {
        what: "the directory loses power",
        durationMs: drawDurationMs(prng),
        end: () => {
          world.release("directory");
          world.directory.restart();
        },
      };
    },
  },
  {
    name: "directory-paused",
    needs: "any-host",
    begin: (world, prng) => {
      if (!world.claim("directory")) return undefined;
      const { machine } = world.directory;
      machine.pause();
      return {
        what: "the directory stands still",
        durationMs: drawDurationMs(prng),
        end: () => {
          world.release("directory");
          machine.resume();
        },
      };
    },
  },
  {
    name: "directory-slow",
    needs: "either",
    begin: (world, prng) => {
      if (!world.claim("directory")) return undefined;
      const mend = world.directory.slowDown(prng.between(50, 1500));
      return {
        what: "the directory is slow",
        durationMs: drawDurationMs(prng),
        end: () => {
          world.release("directory");
          mend();
        },
      };
    },
  },
];
