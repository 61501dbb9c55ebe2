/**
 * What must be true once nothing goes wrong any more: every host serves again, every volume can be
 * used, all copies are complete and equal, counts and digests of every device agree with its maps.
 */
import { assertDefined, CodedError, REGION_BLOCKS, SECTOR_SIZE_BYTES } from "../base/index.ts";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { ObjectLayout } from "../object/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import type { LegLayout, ObjectOwner } from "../object/index.ts";
import { isClean } from "../store/index.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import { TrialClient } from "./trial-client.ts";
import type { TrialHost } from "./trial-host.ts";
import type { VolumePlan } from "./trial-plan.ts";
import type { TrialWorld } from "./trial-world.ts";

const HOSTS_MS = 60_000;
const VOLUME_MS = 120_000;
const DIGESTS_MS = 20_000;
/** Events that wait: timers and requests of a handful of hosts at rest. */
const WAITING_MAX = 3000;

export async function finalChecks(world: TrialWorld): Promise<void> {
  const areUp = await world.until(
    () => world.hosts.every((host) => host.isUp || host.isLost),
    HOSTS_MS,
  );
  if (!areUp) {
    const down = world.hosts.filter((host) => !host.isUp && !host.isLost);
    world.fail("no-progress", `${down.map(({ name }) => name).join(", ")} did not come back`);
  }
  for (const volume of world.plan.volumes) await checkVolume(world, volume);
  world.isOver = true;
  for (const host of world.hosts) if (world.failure === undefined) await checkDevice(world, host);
  const waiting = world.simulation.countWaiting();
  if (waiting > WAITING_MAX) world.fail("unbounded", `${waiting} events wait at the end`);
}

async function checkVolume(world: TrialWorld, volume: VolumePlan): Promise<void> {
  const { name } = volume;
  const client = new TrialClient(world, volume, 99);
  const isServed = await world.until(
    () => client.ask({ kind: "data", firstSector: 0, sectorCount: BLOCK_SECTORS }),
    VOLUME_MS,
  );
  if (!isServed) world.fail("no-progress", `${name} is not served after all faults have ended`);
  const isWhole = await world.until(() => isComplete(world, volume), VOLUME_MS);
  if (!isWhole) world.fail("no-progress", `${name} is not complete after all faults have ended`);
  const sectors = volume.sizeBytes / SECTOR_SIZE_BYTES;
  const step = 16 * BLOCK_SECTORS;
  for (let at = 0; at < sectors && world.failure === undefined; at += step) {
    const sectorCount = Math.min(step, sectors - at);
    const ask = { kind: "read", firstSector: at, sectorCount } as const;
    const isRead = await world.until(() => client.ask(ask), VOLUME_MS);
    if (!isRead) world.fail("no-progress", `${name} cannot be read after all faults have ended`);
  }
  if (world.failure !== undefined) return;
  const owner = await client.served();
  if (owner === undefined) world.fail("no-progress", `${name} loses its owner with nothing wrong`);
  else await compareLegs(world, volume, owner);
}

async function isComplete(world: TrialWorld, volume: VolumePlan): Promise<boolean> {
  const record = await world.record(volume.objectId);
  if (record === undefined) return false;
  return record.components.every(({ componentId, state }) => {
    const host = hostOf(world, record, componentId);
    return state.kind === "active" || host.isLost;
  });
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
async function compareLegs(
  world: TrialWorld,
  volume: VolumePlan,
  owner: ObjectOwner,
): Promise<void> {
  const record = assertDefined(await world.record(volume.objectId), "the volume is there");
  const { legs } = new ObjectLayout(record.tree);
  const blocks = Math.ceil(volume.sizeBytes / BLOCK_SIZE_BYTES);
  for (let first = 0; first < blocks; first += REGION_BLOCKS) {
    const digests: string[] = [];
    for (const leg of legs) {
      const digest = await regionDigest(world, record, owner.epoch, leg, first);
      if (digest !== undefined) digests.push(digest);
    }
    if (digests.every((digest) => digest === digests[0])) continue;
    const what = `${volume.name} from block ${first}: ${digests.join(" and ")}`;
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

async function checkDevice(world: TrialWorld, host: TrialHost): Promise<void> {
  const { device, number, name } = host;
  if (device === undefined || world.standingOf(number).isSick) return;
  const report = await device.scrub();
  if (!isClean(report)) world.fail("references", `${name}: ${JSON.stringify(report)}`);
}
