/** Whether all copies of an object are there and hold the same, past everything in between. */
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, REGION_BLOCKS } from "../base/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { ObjectLayout } from "../object/index.ts";
import type { LegLayout } from "../object/index.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

const DIGESTS_MS = 20_000;

/** Nothing is missing, and nothing remains to be made. */
export async function isComplete(world: TrialWorld, objectId: string): Promise<boolean> {
  const record = await world.record(objectId);
  if (record === undefined) return false;
  // What is to be may have been planned with a host that does not come back.
  if (record.change !== undefined && !world.hosts.some((host) => host.isLost)) return false;
  return record.components.every(({ componentId, state }) => {
    const host = hostOf(world, record, componentId);
    return state.kind === "active" || host.isLost;
  });
}

/** For people: what is missing, and why nothing comes in its place, as far as its owner knows. */
export async function describeMissing(world: TrialWorld, objectId: string): Promise<string> {
  const record = await world.record(objectId);
  if (record === undefined) return "nobody knows it";
  const owner = await world.hosts.find((host) => host.owns(objectId))?.serve(objectId);
  const reasons = new Map(
    owner?.state.components.map(({ componentId, blockedReason }) => [componentId, blockedReason]),
  );
  return record.components
    .filter(({ state }) => state.kind !== "active")
    .map(({ componentId, state }) => {
      const why = reasons.get(componentId) ?? "nothing holds it up";
      return `${componentId} on ${hostOf(world, record, componentId).name} is ${state.kind} (${why})`;
    })
    .join(", ");
}

function hostOf(world: TrialWorld, record: ObjectRecord, componentId: string): TrialHost {
  const placed = record.components.find((one) => one.componentId === componentId);
  const { hostId } = assertDefined(placed, "every component has a place");
  return assertDefined(
    world.hosts.find((host) => host.hostId === hostId),
    "it is on a host",
  );
}

/** Region by region, whatever the legs' stripes. */
export async function compareLegs(
  world: TrialWorld,
  objectId: string,
  epoch: number,
): Promise<void> {
  const record = assertDefined(await world.record(objectId), "the object is there");
  const { legs } = new ObjectLayout(record.tree);
  const blocks = Math.ceil(record.sizeBytes / BLOCK_SIZE_BYTES);
  for (let first = 0; first < blocks; first += REGION_BLOCKS) {
    const digests: string[] = [];
    for (const leg of legs) {
      const digest = await regionDigest(world, record, epoch, leg, first);
      if (digest !== undefined) digests.push(digest);
    }
    if (digests.every((digest) => digest === digests[0])) continue;
    const what = `${record.name} from block ${first}: ${digests.join(" and ")}`;
    world.fail("copies-differ-at-the-end", what);
  }
}

async function regionDigest(
  world: TrialWorld,
  record: ObjectRecord,
  epoch: number,
  leg: LegLayout,
  firstBlock: number,
): Promise<string | undefined> {
  const componentId = assertDefined(leg.componentIds[leg.columnOf(firstBlock)], "a column");
  const host = hostOf(world, record, componentId);
  if (host.isLost) return undefined;
  const region = leg.componentBlockOf(firstBlock) / REGION_BLOCKS;
  let found: string | undefined;
  const isSettled = await world.until(async () => {
    const component = assertDefined(host.component(componentId), "an active component is there");
    try {
      found = (await component.digests(epoch, region, 1)).join(" ");
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "not-settled") throw error;
    }
    return found !== undefined;
  }, DIGESTS_MS);
  if (!isSettled) world.fail("no-progress", `${record.name} does not settle on ${host.name}`);
  return found;
}
