/**
 * Faults that are each aimed at the one situation in which a certain safety rule matters: who has
 * lost what, who is told of it and who asks whom, in an order that chance alone hardly ever takes.
 */
import type { Prng } from "../base/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { bringBack, ownerHost } from "./host-faults.ts";
import { ownedBy, returnsCutShort, succeed } from "./late-faults.ts";
import { shuffled } from "./names.ts";
import { managementPaths, storagePaths } from "./network-faults.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";
import { keepReading } from "./unheard-faults.ts";

export interface AimedFault extends FaultKind {
  /** Faults have to go on for so long, lest it is cut short. */
  readonly neededMs: number;
}

/** By when the lease of whoever is cut off has ended, and another host owns what it had. */
const SUCCESSION_MS_MAX = 11_000;
const LOOK_MS = 20;

function holdsData({ device }: TrialHost, objectIds: readonly string[]): boolean {
  const components = device?.components() ?? [];
  // A witness is sent no writes.
  return components.some((one) => one.blockCount > 0 && objectIds.includes(one.objectId));
}

/** All of them or none. */
function claimLives(world: TrialWorld, hosts: readonly TrialHost[]): boolean {
  const claimed: TrialHost[] = [];
  for (const host of hosts) {
    if (host.isUp && world.claim(`life of ${host.name}`)) claimed.push(host);
    else {
      for (const one of claimed) world.release(`life of ${one.name}`);
      return false;
    }
  }
  return true;
}

/** A copy misses a little, and comes back while its users write: what it is sent is late. */
function returnBusy(world: TrialWorld, prng: Prng): Fault | undefined {
  const holders = world.hosts.filter((host) =>
    world.volumes.some(({ objectId }) => holdsData(host, [objectId])),
  );
  const [host] = shuffled(prng, holders);
  if (host === undefined || !claimLives(world, [host])) return undefined;
  host.kill();
  const starting = world.simulation.clock.after(prng.between(300, 1500), () => {
    if (host.isOff) host.start();
  });
  return {
    what: `${host.name} goes and comes back at once`,
    durationMs: prng.between(4000, 6000),
    end: () => {
      starting.cancel();
      bringBack(world, host);
    },
  };
}

/**
 * A holder of a copy dies, and its owner cannot have that written down. Then the owner and all
 * other holders die, and the one that was the first to go serves what it has.
 */
function markHeldUp(world: TrialWorld, prng: Prng): Fault | undefined {
  const owner = ownerHost(world, prng);
  if (owner === undefined) return undefined;
  const owned = ownedBy(world, owner);
  const others = shuffled(prng, world.hosts).filter((host) => host !== owner);
  const [first, ...rest] = others.filter((host) => holdsData(host, owned));
  if (first === undefined || !claimLives(world, [first, ...rest])) {
    world.release(`life of ${owner.name}`);
    return undefined;
  }
  const { clock } = world.simulation;
  const { to } = managementPaths(world, [owner]);
  let cut: (() => void) | undefined = world.cuts.cut(to);
  const mend = (): void => {
    // What was on its way has gone with whoever sent it.
    for (const [from, there] of cut === undefined ? [] : to) world.fabric.resetStreams(from, there);
    cut?.();
    cut = undefined;
  };
  const turn = { isOver: false };
  const readers = prng.fork();
  first.kill();
  const dying = clock.after(prng.between(150, 1200), () => {
    for (const host of [owner, ...rest]) if (!host.isOff) host.kill();
    mend();
    if (first.isOff) first.start();
    const isOver = (): boolean => turn.isOver;
    void world
      .until(async () => first.isUp, SUCCESSION_MS_MAX)
      .then(() => succeed(world, first, owned, isOver));
    void keepReading(world, first, readers, isOver);
  });
  return {
    what: `${owner.name} loses ${first.name}, cannot have it written down, and all others die`,
    durationMs: prng.between(7000, 9000),
    end: () => {
      turn.isOver = true;
      dying.cancel();
      mend();
      for (const host of [owner, first, ...rest]) bringBack(world, host);
    },
  };
}

/**
 * An owner that nobody asks anything has no lease for a while. Another host, which only it cannot
 * reach, takes over and goes on without its copy. Then it has a lease again, and is asked.
 */
function successorUnseen(world: TrialWorld, prng: Prng): Fault | undefined {
  const owner = ownerHost(world, prng);
  if (owner === undefined) return undefined;
  const claim = `watches of ${owner.name}`;
  const owned = ownedBy(world, owner);
  // Whoever holds a copy would be missed by the owner.
  const others = shuffled(prng, world.hosts).filter((host) => host !== owner);
  const successor = others.find((host) => host.isUp && !holdsData(host, owned));
  if (successor === undefined || !world.claim(claim)) {
    world.release(`life of ${owner.name}`);
    return undefined;
  }
  owner.watches.begin(true);
  owner.usersGoTo = successor;
  const { to, back } = managementPaths(world, [owner]);
  let cut: (() => void) | undefined = world.cuts.cut([...to, ...back]);
  const reconnect = (): void => {
    cut?.();
    cut = undefined;
  };
  const mendStorage = world.cuts.cut([
    ...storagePaths([owner], [successor]),
    ...storagePaths([successor], [owner]),
  ]);
  const turn = { isOver: false };
  const readers = prng.fork();
  const goOnMs = prng.between(200, 1500);
  const isOver = (): boolean => turn.isOver;
  const succession = async (): Promise<void> => {
    await succeed(world, successor, owned, isOver);
    while (!turn.isOver && owner.plane?.isLeaseAlive() === true) await world.pass(LOOK_MS);
    await world.pass(goOnMs);
    if (turn.isOver) return;
    reconnect();
    await keepReading(world, owner, readers, isOver);
  };
  void succession();
  return {
    what: `${owner.name} has no lease, and cannot see that ${successor.name} succeeds`,
    durationMs: SUCCESSION_MS_MAX + prng.between(0, 2000),
    end: () => {
      turn.isOver = true;
      owner.usersGoTo = undefined;
      reconnect();
      mendStorage();
      owner.watches.end();
      world.release(claim);
      bringBack(world, owner);
    },
  };
}

export const RETURN_BUSY: AimedFault = {
  name: "return-busy",
  needs: "any-host",
  neededMs: 8000,
  begin: returnBusy,
};

export const RETURN_CUT_AT_ONCE: AimedFault = {
  name: "return-cut-at-once",
  needs: "any-host",
  neededMs: 8000,
  // So little is missed that hardly anything of it is written once more.
  begin: (world, prng) => returnsCutShort(world, prng, { minMs: 60, maxMs: 500 }),
};

export const AIMED_FAULTS: readonly AimedFault[] = [
  RETURN_BUSY,
  RETURN_CUT_AT_ONCE,
  { name: "mark-held-up", needs: "any-host", neededMs: 10_000, begin: markHeldUp },
  { name: "successor-unseen", needs: "any-host", neededMs: 15_000, begin: successorUnseen },
];
