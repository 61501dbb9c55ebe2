/**
 * Which of some devices holds most of a volume's contents already (after US11461027B2, which picks
 * a node by a sketch of its distinct blocks): there a component is made with the least to send. A
 * sample of the volume's fingerprints, from all over it, is the sketch; each host looks it up in
 * the content maps of its devices. Nothing has to be kept up with every write for that, and the
 * answer is of this volume, not of devices as wholes.
 */
import { CodedError } from "../base/index.ts";
import { componentsOf, legsOf } from "../cluster/index.ts";
import type { DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { Links } from "../link/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Component } from "../store/index.ts";
import type { LocalDevices } from "./component-maker.ts";
import { textOf } from "./component-server.ts";

const SAMPLES_PER_COMPONENT = 16;
const BLOCKS_PER_SAMPLE = 16;
const SOURCES_MAX = 4;
const ASK_MS = 2000;
/** Shares that differ by less than this are equal: then the device with more room is taken. */
const STEP = 0.1;

export interface ContentLikenessWorld {
  readonly links: Links;
  readonly hostId: string;
  readonly devices: LocalDevices;
  readonly components: (componentId: string, hostId: string) => Component | undefined;
}

/** How much of the contents a device has already: 0 to 1, in steps. */
export type Likeness = ReadonlyMap<string, number>;

export class ContentLikeness {
  readonly #world: ContentLikenessWorld;

  constructor(world: ContentLikenessWorld) {
    this.#world = world;
    world.links.handle("device.holds", async ({ argument, payload }) => ({
      result: this.#heldHere(textOf(argument, "deviceId"), payload),
    }));
  }

  /** What cannot be told counts as 0. */
  async of(record: ObjectRecord, devices: readonly DeviceRecord[]): Promise<Likeness> {
    const sample = await this.#sample(record);
    const wanted = sample.length / FINGERPRINT_BYTES;
    if (wanted === 0 || devices.length < 2) return new Map();
    const shares = devices.map(async (device): Promise<[string, number]> => {
      const share = (await this.#held(device, sample)) / wanted;
      return [device.deviceId, Math.round(share / STEP)];
    });
    return new Map(await Promise.all(shares));
  }

  async #held({ deviceId, hostId }: DeviceRecord, payload: Uint8Array): Promise<number> {
    if (hostId === this.#world.hostId) return this.#heldHere(deviceId, payload);
    try {
      const options = { deadlineMs: ASK_MS, payload: [payload] };
      const answer = await this.#world.links.call(hostId, "device.holds", { deviceId }, options);
      return Number(answer.result);
    } catch (error) {
      if (error instanceof CodedError) return 0;
      throw error;
    }
  }

  #heldHere(deviceId: string, fingerprints: Uint8Array): number {
    return this.#world.devices.heldContents?.(deviceId, fingerprints) ?? 0;
  }

  /** Fingerprints of some blocks of good components, taken evenly from all over them. */
  async #sample(record: ObjectRecord): Promise<Uint8Array> {
    const { components } = this.#world;
    const ids = new Set(
      legsOf(record.tree).flatMap((leg) => componentsOf(leg).map((one) => one.componentId)),
    );
    const sources = record.components
      .filter(({ componentId, state }) => ids.has(componentId) && state.kind === "active")
      .flatMap(({ componentId, hostId }) => components(componentId, hostId) ?? [])
      .slice(0, SOURCES_MAX);
    const parts: Uint8Array[] = [];
    for (const source of sources) parts.push(...(await samplesOf(source, record.epoch)));
    const sample = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      sample.set(part, at);
      at += part.length;
    }
    return sample;
  }
}

async function samplesOf(source: Component, epoch: number): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  const step = Math.ceil(source.blockCount / SAMPLES_PER_COMPONENT);
  for (let fromBlock = 0; fromBlock < source.blockCount; fromBlock += step)
    try {
      const { fingerprints } = await source.changes({
        epoch,
        since: 0,
        fromBlock,
        toBlock: Math.min(fromBlock + step, source.blockCount),
        blocksMax: BLOCKS_PER_SAMPLE,
        withFingerprints: true,
      });
      parts.push(fingerprints);
    } catch (error) {
      // It is away, or another one owns the object by now.
      if (error instanceof CodedError) return parts;
      throw error;
    }
  return parts;
}
