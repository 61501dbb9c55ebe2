/**
 * The room that each snapshot takes by itself, as told by the hosts that hold its components: what
 * deleting it gives back on the devices of one copy. Counted when it is asked for.
 */
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import type { HostPlane } from "../plane/index.ts";
import { uniqueBlocks } from "../store/index.ts";
import type { DeviceSet } from "./device-set.ts";

const ASK_MS = 30_000;

export class SnapshotRoom {
  readonly #plane: HostPlane;
  readonly #devices: DeviceSet;
  readonly #hostId: string;

  constructor(plane: HostPlane, devices: DeviceSet, hostId: string) {
    this.#plane = plane;
    this.#devices = devices;
    this.#hostId = hostId;
    plane.links.handle("snapshot.room", async ({ argument }) => ({
      result: await this.#here(Array.isArray(argument) ? argument.map(String) : []),
    }));
  }

  /** By object; of hosts that do not answer nothing is known. */
  async of(objectIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const others = this.#plane.hosts.records.filter(({ hostId }) => hostId !== this.#hostId);
    const answers = await Promise.all([
      this.#here(objectIds),
      ...others.map(({ hostId }) => this.#ask(hostId, objectIds)),
    ]);
    const room = new Map<string, number>();
    for (const [objectId, bytes] of answers.flat())
      room.set(objectId, Math.max(bytes, room.get(objectId) ?? 0));
    return room;
  }

  async #ask(hostId: string, objectIds: readonly string[]): Promise<readonly [string, number][]> {
    try {
      const options = { deadlineMs: ASK_MS };
      const answer = await this.#plane.links.call(hostId, "snapshot.room", objectIds, options);
      return answer.result as [string, number][]; // What a host of the same version has made.
    } catch (error) {
      if (error instanceof CodedError) return [];
      throw error;
    }
  }

  /** Of those that have components here; the columns of a striped copy are added up. */
  async #here(objectIds: readonly string[]): Promise<[string, number][]> {
    const wanted = new Set(objectIds);
    const room = new Map<string, number>();
    for (const { device } of this.#devices.opened)
      for (const { componentId, objectId } of device.components()) {
        if (!wanted.has(objectId)) continue;
        const blocks = await uniqueBlocks(device, componentId);
        room.set(objectId, (room.get(objectId) ?? 0) + blocks * BLOCK_SIZE_BYTES);
      }
    return [...room];
  }
}
