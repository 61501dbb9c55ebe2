/**
 * Faults that belong together: what an owner has sent arrives when another one owns the volume
 * already; an owner dies before what it has found out is written down. Cuts and deaths that have
 * nothing to do with each other hardly ever bring that about.
 */
import type { Prng } from "../base/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { bringBack, ownerHost } from "./host-faults.ts";
import { storagePaths } from "./network-faults.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

/** Within that, hosts do not call each other silent: what is held up arrives on the same link. */
const HELD_MS_MAX = 1900;
const ASK_AGAIN_MS = 40;
const ASK_MS = 1000;

/** As machines are started elsewhere at once: the host takes over what the dead one had. */
export async function succeed(
  world: TrialWorld,
  host: TrialHost,
  objectIds: readonly string[],
  isOver: () => boolean,
): Promise<void> {
  for (const objectId of objectIds)
    while (!isOver() && host.isUp && !host.owns(objectId)) {
      const answer = await host.ask(() => host.serve(objectId), ASK_MS);
      if (answer.kind === "refused") world.trace.add("fault", `${host.name}: ${answer.message}`);
      await world.pass(ASK_AGAIN_MS);
    }
}

/** Of those that hold data of what the host owns. */
function pickHolder(world: TrialWorld, prng: Prng, owner: TrialHost): TrialHost {
  const owned = ownedBy(world, owner);
  const others = world.hosts.filter((host) => host !== owner);
  const holders = others.filter(({ device }) =>
    // A witness is sent no writes.
    device?.components().some((one) => one.blockCount > 0 && owned.includes(one.objectId)),
  );
  return prng.pick(holders.length > 0 ? holders : others);
}

export function ownedBy(world: TrialWorld, owner: TrialHost): readonly string[] {
  return world.volumes.map(({ objectId }) => objectId).filter((id) => owner.owns(id));
}

function lastWordsLate(world: TrialWorld, prng: Prng): Fault | undefined {
  const owner = ownerHost(world, prng);
  if (owner === undefined) return undefined;
  const { clock } = world.simulation;
  const owned = ownedBy(world, owner);
  const other = pickHolder(world, prng, owner);
  const successor = prng.pick(world.hosts.filter((host) => host !== owner && host !== other));
  const killedMs = prng.between(20, 500);
  const heldMs = Math.min(HELD_MS_MAX, killedMs + prng.between(200, 1000));
  let cut: (() => void) | undefined = world.cuts.cut(storagePaths([owner], [other]));
  const mend = (): void => {
    cut?.();
    cut = undefined;
  };
  const { machine } = owner;
  const killing = clock.after(killedMs, () => {
    // Its process may have ended for another reason meanwhile.
    if (owner.machine !== machine || owner.isOff) return;
    owner.kill("end");
    void succeed(world, successor, owned, () => cut === undefined);
  });
  const mending = clock.after(heldMs, mend);
  return {
    what: `${owner.name} dies, ${successor.name} succeeds, what went to ${other.name} last is late`,
    durationMs: heldMs + prng.between(500, 3000),
    end: () => {
      killing.cancel();
      mending.cancel();
      mend();
      bringBack(world, owner);
    },
  };
}

/**
 * An owner loses a copy, cannot have that written down, and dies. What it has answered until then
 * must be where the next one looks.
 */
function markUnwritten(world: TrialWorld, prng: Prng): Fault | undefined {
  const owner = ownerHost(world, prng);
  if (owner === undefined) return undefined;
  if (!world.claim("directory")) {
    world.release(`life of ${owner.name}`);
    return undefined;
  }
  const { clock } = world.simulation;
  const other = pickHolder(world, prng, owner);
  const directory = world.directory.machine;
  directory.pause();
  const mend = world.cuts.cut([
    ...storagePaths([owner], [other]),
    ...storagePaths([other], [owner]),
  ]);
  const { machine } = owner;
  const diesMs = prng.between(2200, 3200);
  const killing = clock.after(diesMs, () => {
    if (owner.machine === machine && !owner.isOff) owner.kill();
  });
  let isResumed = false;
  const resume = (): void => {
    if (!isResumed) directory.resume();
    isResumed = true;
  };
  const resuming = clock.after(diesMs + prng.between(1, 100), resume);
  return {
    what: `${owner.name} loses ${other.name}, cannot have it written down, and dies`,
    durationMs: diesMs + prng.between(1500, 4000),
    end: () => {
      killing.cancel();
      resuming.cancel();
      resume();
      mend();
      world.release("directory");
      bringBack(world, owner);
    },
  };
}

const SLOW_READS = { minMs: 5, maxMs: 150 };
const LOOK_MS = 5;

function isCatchingUp(host: TrialHost): boolean {
  const components = host.device?.components() ?? [];
  return components.some(
    ({ catchUpFrom, blockCount }) => blockCount > 0 && catchUpFrom !== undefined,
  );
}

/**
 * A copy comes back, slowly, and its host dies in the middle of that, and again: what it has heard
 * of meanwhile must not hide what it lacks.
 */
export function returnsCutShort(
  world: TrialWorld,
  prng: Prng,
  away: { readonly minMs: number; readonly maxMs: number },
): Fault | undefined {
  const host = prng.pick(world.hosts);
  if (!world.claim(`life of ${host.name}`)) return undefined;
  const turn = { isOver: false };
  const cut = async (): Promise<void> => {
    while (!turn.isOver) {
      if (!host.isOff) host.kill();
      await world.pass(prng.between(away.minMs, away.maxMs));
      if (turn.isOver || !host.isOff) return;
      host.start();
      while (!turn.isOver && !isCatchingUp(host)) {
        if (host.disk !== undefined) host.disk.readLatency = SLOW_READS;
        await world.pass(LOOK_MS);
      }
      await world.pass(prng.below(300));
    }
  };
  void cut();
  return {
    what: `${host.name} goes, and goes again while it catches up`,
    durationMs: prng.between(6000, 15_000),
    end: () => {
      turn.isOver = true;
      // At once: nothing happens any more when what is left is checked. Its disk is fast again.
      if (!host.isOff) host.kill();
      bringBack(world, host);
    },
  };
}

/** Drawn apart from the others. */
export const RETURN_CUT_SHORT: FaultKind = {
  name: "return-cut-short",
  needs: "any-host",
  // Until its copies are stale, so that it lacks something.
  begin: (world, prng) => returnsCutShort(world, prng, { minMs: 1500, maxMs: 4000 }),
};

export const LATE_FAULTS: readonly FaultKind[] = [
  { name: "mark-unwritten", needs: "any-host", begin: markUnwritten },
  { name: "last-words-late", needs: "any-host", begin: lastWordsLate },
  RETURN_CUT_SHORT,
];
