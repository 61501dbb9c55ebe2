/**
 * Makes and removes components on whichever host they lie, and serves the same to the others. What
 * a crash leaves between a device and the directory is settled by intents.
 */
import { CodedError, marks } from "../base/index.ts";
import { dropIntent, findObject, listIntents, listVolumes } from "../cluster/index.ts";
import type { Links } from "../link/index.ts";
import type { Clock, Directory, DiskMemory, Log } from "../ports/index.ts";
import type { ComponentFork, LocalComponent, NewComponent, ReadThrough } from "../store/index.ts";
import { numberOf, textOf, valueOf } from "./component-server.ts";
import type { LocalDevice } from "./device-register.ts";

const MAKE_MS = 60_000;
const ASK_MS = 2000;
/** A component that was there is asked after this seldom while the link to its host lives. */
const SURE_MS = 15_000;
/** Components of one host that are known to be there. */
const SURE_MAX = 65_536;

/** The devices of this host. */
export interface LocalDevices {
  readonly component: (componentId: string) => LocalComponent | undefined;
  /** Memory that every device can read into. */
  readonly allocate: (lengthBytes: number) => DiskMemory;
  readonly create: (component: PlacedComponent) => Promise<void>;
  /** As `Device.forkComponent`, on the device of the source. */
  readonly fork: (fork: ComponentFork) => Promise<void>;
  /** Components of a device. */
  readonly heldBy: (deviceId: string) => readonly string[];
  /** Does nothing if there is no such component. */
  readonly remove: (componentId: string) => Promise<void>;
  readonly grow: (componentId: string, blockCount: number) => Promise<void>;
  readonly list: () => readonly LocalDevice[];
  /** How many contents with these fingerprints the device has; without it that counts as none. */
  readonly heldContents?: (deviceId: string, fingerprints: Uint8Array) => number;
  /** By component: bytes with data, before deduplication; without it nobody knows. */
  readonly storedBytes?: () => readonly (readonly [string, number])[];
  /** Objects with transactions here that nobody has decided since the start. */
  readonly undecided: () => readonly string[];
  /** Without it nobody looks for damage on the devices. */
  readonly readThrough?: (deviceId: string) => ReadThrough | undefined;
  /** As `Device.distrust`. */
  readonly distrust: (deviceId: string, incarnation: number) => Promise<void>;
}

export interface PlacedComponent extends NewComponent {
  readonly deviceId: string;
}

export interface ComponentMakerWorld {
  readonly links: Links;
  readonly devices: LocalDevices;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly log: Log;
  readonly clock: Clock;
}

export class ComponentMaker {
  readonly #world: ComponentMakerWorld;
  /** By host: until when its components need not be asked after. */
  readonly #sureUntilMs = new Map<string, Map<string, number>>();

  constructor(world: ComponentMakerWorld) {
    this.#world = world;
    const { links, devices } = world;
    links.handle("device.create", async ({ argument }) => {
      await devices.create({
        deviceId: textOf(argument, "deviceId"),
        componentId: textOf(argument, "componentId"),
        objectId: textOf(argument, "objectId"),
        sizeBytes: numberOf(argument, "sizeBytes"),
        lacksAll: valueOf(argument, "lacksAll") === true,
      });
      return { result: null };
    });
    links.handle("device.fork", async ({ argument }) => {
      await devices.fork({
        componentId: textOf(argument, "componentId"),
        objectId: textOf(argument, "objectId"),
        sourceId: textOf(argument, "sourceId"),
        epoch: numberOf(argument, "epoch"),
        sequence: numberOf(argument, "sequence"),
        isFrozen: valueOf(argument, "isFrozen") === true,
      });
      return { result: null };
    });
    links.handle("device.remove", async ({ argument }) => {
      await devices.remove(textOf(argument, "componentId"));
      return { result: null };
    });
    links.handle("device.grow", async ({ argument }) => {
      await devices.grow(textOf(argument, "componentId"), numberOf(argument, "blockCount"));
      return { result: null };
    });
    links.handle("device.lacks", async ({ argument }) => ({
      result: this.#lacksHere(textOf(argument, "deviceId"), textOf(argument, "componentId")),
    }));
  }

  async make(component: PlacedComponent, hostId: string): Promise<void> {
    if (hostId === this.#world.hostId) await this.#world.devices.create(component);
    else await this.#call(hostId, "device.create", component);
  }

  async fork(fork: ComponentFork, hostId: string): Promise<void> {
    if (hostId === this.#world.hostId) await this.#world.devices.fork(fork);
    else await this.#call(hostId, "device.fork", fork);
  }

  async grow(componentId: string, blockCount: number, hostId: string): Promise<void> {
    if (hostId === this.#world.hostId) await this.#world.devices.grow(componentId, blockCount);
    else await this.#call(hostId, "device.grow", { componentId, blockCount });
  }

  /** Its intent goes with it. Fails as its host does. */
  async remove(componentId: string, hostId: string): Promise<void> {
    const { directory, clusterId, devices } = this.#world;
    if (hostId === this.#world.hostId) await devices.remove(componentId);
    else await this.#call(hostId, "device.remove", { componentId });
    await dropIntent(directory, clusterId, componentId);
  }

  /** The intent stays until the component is gone. */
  async removeOrLeave(componentId: string, hostId: string): Promise<void> {
    try {
      await this.remove(componentId, hostId);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const what = `a component stays until its host is back: ${error.message}`;
      this.#world.log.write("warning", what, { componentId, hostId });
    }
  }

  /** Whether the host has the device, and no such component on it. False if it does not say. */
  async isLacking(componentId: string, deviceId: string, hostId: string): Promise<boolean> {
    const { clock, links } = this.#world;
    if (hostId === this.#world.hostId) return this.#lacksHere(deviceId, componentId);
    const sure = this.#sureOf(hostId);
    const known = `${deviceId} ${componentId}`;
    if (clock.nowMs() < (sure.get(known) ?? 0)) return false;
    try {
      const argument = { componentId, deviceId };
      const options = { deadlineMs: ASK_MS };
      const { result } = await links.call(hostId, "device.lacks", argument, options);
      if (sure.size >= SURE_MAX) sure.clear();
      if (result === true) sure.delete(known);
      else sure.set(known, clock.nowMs() + SURE_MS);
      return result === true;
    } catch (error) {
      if (error instanceof CodedError) return false;
      throw error;
    }
  }

  /** What its host said before may not be so any more: it may have started anew. */
  linkChanged(hostId: string): void {
    this.#sureUntilMs.delete(hostId);
  }

  #sureOf(hostId: string): Map<string, number> {
    const known = this.#sureUntilMs.get(hostId) ?? new Map<string, number>();
    this.#sureUntilMs.set(hostId, known);
    return known;
  }

  #lacksHere(deviceId: string, componentId: string): boolean {
    const { devices } = this.#world;
    if (devices.component(componentId) !== undefined) return false;
    return devices.list().some((device) => device.deviceId === deviceId);
  }

  /** What crashes left of this host's components: those that no record names go. */
  async settleIntents(): Promise<void> {
    const { directory, clusterId, hostId, devices } = this.#world;
    for (const intent of await listIntents(directory, clusterId)) {
      if (intent.hostId !== hostId) continue;
      const { componentId, objectId } = intent;
      const stored = await findObject(directory, clusterId, objectId);
      const isWanted = stored?.record.components.some((one) => one.componentId === componentId);
      if (isWanted !== true) await devices.remove(componentId);
      await dropIntent(directory, clusterId, componentId);
    }
  }

  /**
   * What was removed from its object while this host could not be told. Not only when it starts:
   * what nobody will decide on such a component holds up whatever came after it.
   */
  async settleRemovals(): Promise<void> {
    const { directory, clusterId, hostId, devices, log } = this.#world;
    for (const intent of await listIntents(directory, clusterId)) {
      if (intent.hostId !== hostId || intent.isRemoval !== true) continue;
      const { componentId, objectId } = intent;
      const stored = await findObject(directory, clusterId, objectId);
      if (stored?.record.components.some((one) => one.componentId === componentId)) continue;
      try {
        marks.hit("what was removed elsewhere went later");
        await devices.remove(componentId);
        await dropIntent(directory, clusterId, componentId);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        log.write("warning", `a component stays for now: ${error.message}`, { componentId });
      }
    }
  }

  /**
   * An old copy of a device brings back components that went long ago, of which no record and no
   * intent knows. They go only where that is known: a directory that was restored from a backup
   * does not know what is newer than that, and devices hold it still.
   */
  async removeForgotten(deviceId: string): Promise<void> {
    const { directory, clusterId, devices, log } = this.#world;
    // Intents first: what one is dropped for is in a record before.
    const intents = await listIntents(directory, clusterId);
    const records = await listVolumes(directory, clusterId);
    const known = new Set([
      ...intents.map(({ componentId }) => componentId),
      ...records.flatMap(({ components }) => components.map((one) => one.componentId)),
    ]);
    for (const componentId of devices.heldBy(deviceId)) {
      if (known.has(componentId)) continue;
      marks.hit("what an old copy of a device brought back was removed");
      await devices.remove(componentId);
      log.write("info", "a component that nobody names any more was removed", { componentId });
    }
  }

  async #call(hostId: string, method: string, argument: object): Promise<void> {
    await this.#world.links.call(hostId, method, argument, { deadlineMs: MAKE_MS });
  }
}

/**
 * Fails only when all of it has ended: what is undone then is not done again by what was under way.
 */
export async function allEnded<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

/**
 * Whether what was to be written to the directory may be there. Then nothing of it may be undone.
 */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof CodedError && error.code === "directory-outcome-unknown";
}
