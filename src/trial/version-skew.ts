/**
 * Hosts in the middle of an upgrade: one is of the version before. It says so in its hello, knows
 * nothing of the calls that came since, and makes none of them.
 */
import type { Prng } from "../base/index.ts";
import { unknownCall } from "../link/index.ts";
import type { Links, SpokenVersions } from "../link/index.ts";
import type { TrialWorld } from "./trial-world.ts";

const OLDER: SpokenVersions = { oldest: 1, newest: 1 };
const NEWER: SpokenVersions = { oldest: 1, newest: 2 };
/** Calls that hosts can do without; what they are asked for is done in the older way then. */
const CALLS_SINCE = ["component.offer", "device.holds", "repair.leave", "rebuild.speed"];

export function planSkew(prng: Prng, hostCount: number): number | undefined {
  return prng.chance(0.2) ? prng.below(hostCount) : undefined;
}

/** Undefined where all hosts are of this version. */
export function versionsOf(
  olderHost: number | undefined,
  host: number,
): SpokenVersions | undefined {
  if (olderHost === undefined) return undefined;
  return host === olderHost ? OLDER : NEWER;
}

export function forgetNewerCalls(links: Links): void {
  for (const method of CALLS_SINCE) links.handle(method, () => Promise.reject(unknownCall(method)));
}

/** Any two hosts speak the newest that both know. */
export function checkSpoken(world: TrialWorld): void {
  const { olderHost } = world.plan;
  if (olderHost === undefined) return;
  for (const host of world.hosts)
    for (const { hostId, isUp, spokenVersion } of host.plane?.links.peers() ?? []) {
      const other = world.hosts.find((one) => one.hostId === hostId);
      const isOlder = [host.number, other?.number].includes(olderHost);
      const wanted = (isOlder ? OLDER : NEWER).newest;
      if (isUp && spokenVersion !== wanted)
        world.fail("version", `${host.name} speaks version ${spokenVersion} with ${other?.name}`);
    }
}
