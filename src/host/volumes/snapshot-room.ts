/**
 * The room that each snapshot takes by itself, as told by the hosts that hold its components: what
 * deleting it gives back on the devices of one copy. Counted when it is asked for.
 */
import { BLOCK_SIZE_BYTES } from "../../base/index.ts";
import type { HostPlane } from "../../plane/index.ts";
import { uniqueBlocks } from "../../store/index.ts";
import type { DeviceSet } from "../data/device-set.ts";
import { numbersOf } from "../peers/host-part.ts";
import { PeerAnswers } from "../peers/peer-answers.ts";
import type { PlaneWorld } from "../data/plane-world.ts";

const ASK_MS = 30_000;

export class SnapshotRoom {
  readonly #plane: HostPlane;
  readonly #devices: DeviceSet;
  readonly #hostId: string;
  readonly #answers: PeerAnswers;

  constructor(plane: HostPlane, devices: DeviceSet, world: PlaneWorld) {
    this.#plane = plane;
    this.#devices = devices;
    this.#hostId = world.identity.hostId;
    this.#answers = new PeerAnswers(world);
    plane.links.handle("snapshot.room", async ({ argument }) => ({
      result: await this.#here(Array.isArray(argument) ? argument.map(String) : []),
    }));
  }

  /** By object; of hosts that do not answer nothing is known. */
  async of(objectIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const others = this.#plane.hosts.records.filter(({ hostId }) => hostId !== this.#hostId);
    const answers = await Promise.all([
      this.#here(objectIds),
      ...others.map((host) => this.#ask(host, objectIds)),
    ]);
    const room = new Map<string, number>();
    for (const [objectId, bytes] of answers.flat())
      room.set(objectId, Math.max(bytes, room.get(objectId) ?? 0));
    return room;
  }

  async #ask(
    { hostId, name }: { readonly hostId: string; readonly name: string },
    objectIds: readonly string[],
  ): Promise<readonly (readonly [string, number])[]> {
    const asked = await this.#answers.of(name, "snapshot.room", async () => {
      const options = { deadlineMs: ASK_MS };
      const answer = await this.#plane.links.call(hostId, "snapshot.room", objectIds, options);
      return numbersOf(answer.result);
    });
    return asked ?? [];
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
