/** Whether all copies of an object are there and hold the same, past everything in between. */
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, REGION_BLOCKS } from "../base/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { ObjectLayout } from "../object/index.ts";
import type { LegLayout } from "../object/index.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

const DIGESTS_MS = 20_000;
const COMPLETE_MS = 120_000;
/** Who is just taking the object may do so for ever. */
const OWNER_MS = 1000;
/** Copies of one region that are replaced while they are being compared. */
const MOVES_MAX = 8;

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
  const host = world.hosts.find((one) => one.owns(objectId));
  const answer = await host?.ask(() => host.serve(objectId), OWNER_MS);
  const reasons = new Map(
    (answer?.kind === "done" ? answer.value : undefined)?.state.components.map(
      ({ componentId, blockedReason }) => [componentId, blockedReason],
    ),
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
  const { sizeBytes } = assertDefined(await world.record(objectId), "the object is there");
  const blocks = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
  for (let first = 0; first < blocks; first += REGION_BLOCKS) {
    let digests: readonly string[] | undefined;
    for (let attempt = 0; digests === undefined && attempt < MOVES_MAX; attempt++) {
      digests = await regionDigests(world, objectId, epoch, first);
      if (digests !== undefined && !areEqual(digests) && (await becameComplete(world, objectId)))
        digests = undefined;
    }
    if (digests !== undefined && areEqual(digests)) continue;
    const what = digests?.join(" and ") ?? "its copies are moved again and again";
    world.fail("copies-differ-at-the-end", `${objectId} from block ${first}: ${what}`);
  }
}

function areEqual(digests: readonly string[]): boolean {
  return digests.every((digest) => digest === digests[0]);
}

/**
 * That a copy lacks a write that was under way when the faults ended may be written down only now:
 * it catches up then.
 */
async function becameComplete(world: TrialWorld, objectId: string): Promise<boolean> {
  if (await isComplete(world, objectId)) return false;
  return await world.until(() => isComplete(world, objectId), COMPLETE_MS);
}

/** One of each leg; undefined if a copy was moved to another device meanwhile. */
async function regionDigests(
  world: TrialWorld,
  objectId: string,
  epoch: number,
  firstBlock: number,
): Promise<readonly string[] | undefined> {
  const record = assertDefined(await world.record(objectId), "the object is there");
  const digests: string[] = [];
  for (const leg of new ObjectLayout(record.tree).legs) {
    const digest = await regionDigest(world, record, { epoch, leg, firstBlock });
    if (digest === "moved") return undefined;
    if (digest !== "lost") digests.push(digest);
  }
  return digests;
}

async function regionDigest(
  world: TrialWorld,
  record: ObjectRecord,
  of: { readonly epoch: number; readonly leg: LegLayout; readonly firstBlock: number },
): Promise<string> {
  const { epoch, leg, firstBlock } = of;
  const componentId = assertDefined(leg.componentIds[leg.columnOf(firstBlock)], "a column");
  const host = hostOf(world, record, componentId);
  if (host.isLost) return "lost";
  const region = leg.componentBlockOf(firstBlock) / REGION_BLOCKS;
  let found = "";
  const isSettled = await world.until(async () => {
    const component = host.component(componentId);
    try {
      if (component === undefined) found = await whyMissing(world, record.objectId, componentId);
      else found = (await component.digests(epoch, region, 1)).join(" ");
    } catch (error) {
      const isPassing =
        error instanceof CodedError && ["not-settled", "component-missing"].includes(error.code);
      if (!isPassing) throw error;
    }
    return found !== "";
  }, DIGESTS_MS);
  if (!isSettled) world.fail("no-progress", `${record.name} does not settle on ${host.name}`);
  return found;
}

/** What is named by the record must be there; what was replaced goes. */
async function whyMissing(
  world: TrialWorld,
  objectId: string,
  componentId: string,
): Promise<string> {
  const record = await world.record(objectId);
  const isNamed = record?.components.some((one) => one.componentId === componentId) === true;
  if (isNamed) world.fail("no-progress", `component ${componentId} is active, and not there`);
  return "moved";
}
