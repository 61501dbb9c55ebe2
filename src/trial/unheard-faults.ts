/**
 * What was said and not heard, or heard late: events of the directory, and answers to what was done
 * all the same, after which whoever asked asks again.
 */
import type { Prng } from "../base/index.ts";
import type { Timer } from "../ports/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { bringBack, drawDurationMs, ownerHost } from "./host-faults.ts";
import { ownedBy, succeed } from "./late-faults.ts";
import { shuffled } from "./names.ts";
import { managementPaths, storagePaths } from "./network-faults.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import { TrialClient } from "./trial-client.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

/** Longer than any lease that hosts have here. */
const CUT_MS_MIN = 5000;
/** A user whose number nobody else has. */
const READER = 90;

function watchesLag(world: TrialWorld, prng: Prng): Fault | undefined {
  const host = prng.pick(world.hosts);
  const claim = `watches of ${host.name}`;
  if (!world.claim(claim)) return undefined;
  host.watches.begin();
  return {
    what: `${host.name} hears of changes in the directory late`,
    durationMs: drawDurationMs(prng),
    end: () => {
      world.release(claim);
      host.watches.end();
    },
  };
}

/** Whoever believes the host is told what it has, as soon as it has a lease again. */
export async function keepReading(
  world: TrialWorld,
  host: TrialHost,
  prng: Prng,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    for (const volume of world.volumes) {
      // Without a lease the first question would end it.
      const isBelieved = host.owns(volume.objectId) && host.plane?.isLeaseAlive() === true;
      if (!isBelieved || volume.isHeld) continue;
      const firstSector = prng.pick(volume.plan.workload.hotBlocks) * BLOCK_SECTORS;
      const ask = { kind: "read", firstSector, sectorCount: BLOCK_SECTORS } as const;
      await new TrialClient(world, volume, READER, host).ask(ask);
    }
    await world.pass(prng.between(1, 50));
  }
}

/**
 * An owner has no lease for a while, another host takes over, and the owner has one again before it
 * hears of that. At times the others cannot tell it, either.
 */
function takeoverUnheard(world: TrialWorld, prng: Prng): Fault | undefined {
  const owner = ownerHost(world, prng);
  if (owner === undefined) return undefined;
  const claim = `watches of ${owner.name}`;
  if (!world.claim(claim)) {
    world.release(`life of ${owner.name}`);
    return undefined;
  }
  const { clock } = world.simulation;
  const owned = ownedBy(world, owner);
  const others = world.hosts.filter((host) => host !== owner);
  const successor = prng.pick(others);
  owner.watches.begin(prng.chance(0.7));
  const { to, back } = managementPaths(world, [owner]);
  let mend: (() => void) | undefined = world.cuts.cut([...to, ...back]);
  const cutMs = prng.between(CUT_MS_MIN, prng.pick([5600, 7000]));
  const storage = prng.chance(0.7)
    ? [...storagePaths([owner], others), ...storagePaths(others, [owner])]
    : [];
  let mendStorage = (): void => {};
  // Just before the other one asks for its copies: it would know soon that it is alone.
  const cutting = clock.after(cutMs - prng.between(300, 1500), () => {
    mendStorage = world.cuts.cut(storage);
  });
  const reconnect = (): void => {
    mend?.();
    mend = undefined;
  };
  const turn = { isOver: false };
  const readers = prng.fork();
  const mending = clock.after(cutMs, () => {
    reconnect();
    void keepReading(world, owner, readers, () => turn.isOver);
  });
  void succeed(world, successor, owned, () => turn.isOver);
  return {
    what: `${owner.name} has no lease, ${successor.name} succeeds, and ${owner.name} hears of it late`,
    durationMs: cutMs + prng.between(500, 4000),
    end: () => {
      turn.isOver = true;
      cutting.cancel();
      mending.cancel();
      reconnect();
      mendStorage();
      owner.watches.end();
      world.release(claim);
      bringBack(world, owner);
    },
  };
}

/**
 * Again and again the way back is cut, and then the connections are: what was asked is done, nobody
 * hears of it, and whoever asked may ask again.
 */
function unanswered(
  world: TrialWorld,
  prng: Prng,
  what: string,
  back: readonly (readonly [string, string])[],
): Fault {
  const { clock } = world.simulation;
  const roundMsMax = prng.pick([50, 400, 1500]);
  let mend: (() => void) | undefined;
  let next: Timer | undefined;
  const heal = (): void => {
    if (mend !== undefined) for (const [from, to] of back) world.fabric.resetStreams(from, to);
    mend?.();
    mend = undefined;
  };
  const round = (): void => {
    if (mend === undefined) mend = world.cuts.cut(back);
    else heal();
    next = clock.after(prng.between(5, roundMsMax), round);
  };
  round();
  return {
    what,
    durationMs: drawDurationMs(prng),
    end: () => {
      next?.cancel();
      heal();
    },
  };
}

export const UNHEARD_FAULTS: readonly FaultKind[] = [
  { name: "watches-lag", needs: "any-host", begin: watchesLag },
  { name: "takeover-unheard", needs: "any-host", begin: takeoverUnheard },
  {
    name: "answers-lost",
    needs: "any-host",
    begin: (world, prng) => {
      const [a, b] = shuffled(prng, world.hosts);
      if (a === undefined || b === undefined) return undefined;
      const what = `what ${b.name} answers ${a.name} is lost`;
      return unanswered(world, prng, what, storagePaths([b], [a]));
    },
  },
  {
    name: "directory-answers-lost",
    needs: "any-host",
    begin: (world, prng) => {
      const host = prng.pick(world.hosts);
      const what = `what the directory answers ${host.name} is lost`;
      return unanswered(world, prng, what, managementPaths(world, [host]).back);
    },
  },
];
