/** Volumes of known contents on a development cluster, for tests and benchmarks of rebuilds. */
import { createHash } from "node:crypto";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Prng } from "../../src/base/index.ts";
import type { ClusterRun } from "./cluster-run.ts";
import { NbdClient } from "./nbd-client.ts";
import { destagedStats } from "./stats.ts";

export const BLOCK = 4096;
const CHUNK = 64 * BLOCK;
const DONE_MS_MAX = 120_000;
const POLL_MS = 100;

export interface Traffic {
  readonly bytesNeeded: number;
  readonly bytesSent: number;
  readonly bytesSkipped: number;
  readonly metadataBytes: number;
}

interface Shown {
  readonly components: readonly {
    readonly componentId: string;
    readonly host: string;
    readonly device: string;
    readonly state: string;
  }[];
  readonly tree: TreeShown;
}

interface TreeShown {
  readonly kind: string;
  readonly componentId?: string;
  readonly children?: readonly TreeShown[];
}

export function randomBytes(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  new Prng(seed).fill(bytes);
  return bytes;
}

/** A copy of `base` with this share of its blocks changed; which ones depends on the seed. */
export function changedCopy(base: Buffer, share: number, seed: number): Buffer {
  const copy = Buffer.from(base);
  const prng = new Prng(seed);
  for (let at = 0; at < copy.length; at += BLOCK)
    if (prng.chance(share)) prng.fill(copy.subarray(at, at + BLOCK));
  return copy;
}

/** Of the blocks that are not zero. */
export function contentsOf(data: Buffer): Set<string> {
  const contents = new Set<string>();
  for (let at = 0; at < data.length; at += BLOCK) {
    const block = data.subarray(at, at + BLOCK);
    if (block.some((byte) => byte !== 0))
      contents.add(createHash("sha256").update(block).digest("base64"));
  }
  return contents;
}

export class RebuildWorld {
  readonly cluster: ClusterRun;
  readonly hosts: readonly string[];

  constructor(cluster: ClusterRun, hostCount: number) {
    this.cluster = cluster;
    this.hosts = Array.from({ length: hostCount }, (_none, i) => `h${i + 1}`);
  }

  async create(name: string, data: Buffer, failuresToTolerate: number): Promise<void> {
    const { cluster } = this;
    const create = ["volume", "create", name, "--size", String(data.length)];
    await cluster.cli(1, [...create, "--failures-to-tolerate", String(failuresToTolerate)]);
    const socket = path.join(cluster.folder, `${name}.sock`);
    await cluster.cli(1, ["volume", "attach", name, "--nbd", socket]);
    const client = await NbdClient.connect({ socket, exportName: name });
    for (let at = 0; at < data.length; at += CHUNK)
      await client.write(at, data.subarray(at, at + CHUNK));
    await client.flush();
    await client.close();
  }

  /** Whether the volume's bytes are these. */
  async holds(name: string, data: Buffer): Promise<boolean> {
    const socket = path.join(this.cluster.folder, `${name}.sock`);
    const client = await NbdClient.connect({ socket, exportName: name });
    let isEqual = true;
    for (let at = 0; at < data.length && isEqual; at += CHUNK) {
      const part = data.subarray(at, at + CHUNK);
      isEqual = (await client.read(at, part.length)).equals(part);
    }
    await client.close();
    return isEqual;
  }

  /** Hosts that hold data of the volume, whole copies. */
  async holders(name: string): Promise<readonly string[]> {
    const { components, tree } = await this.show(name);
    const witnesses = new Set(
      (tree.children ?? [])
        .filter(({ kind }) => kind === "witness")
        .map((leaf) => leaf.componentId),
    );
    return components
      .filter(({ componentId }) => !witnesses.has(componentId))
      .map(({ host }) => host);
  }

  show(name: string): Promise<Shown> {
    return this.cluster.get<Shown>(1, `/v1/volumes/${name}`);
  }

  async destaged(): Promise<void> {
    for (const host of this.hosts.keys())
      await destagedStats({ cli: (args) => this.cluster.cli(host + 1, args) });
  }

  async rebuilt(): Promise<Traffic> {
    const { rebuild } = await this.cluster.cli<{ readonly rebuild: Traffic }>(1, ["stats"]);
    return rebuild;
  }

  /** Until none of these has a component that is not active, or one on the host or device. */
  async untilWhole(
    names: readonly string[],
    without?: string,
    limitMs: number = DONE_MS_MAX,
  ): Promise<void> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const shown = await Promise.all(names.map((name) => this.show(name)));
      const components = shown.flatMap((one) => one.components);
      const isWhole = components.every(
        ({ state, host, device }) => state === "active" && host !== without && device !== without,
      );
      if (isWhole) return;
      if (performance.now() > deadline) {
        const known = { components, ...(await this.#whatIsTold()) };
        throw new Error(`they do not become whole: ${JSON.stringify(known)}`);
      }
      await pause(POLL_MS);
    }
  }

  /** What a user would look at to see why. */
  async #whatIsTold(): Promise<Readonly<Record<string, unknown>>> {
    const { cluster } = this;
    const [resyncs, status, { events }] = await Promise.all([
      cluster.get<unknown>(1, "/v1/resyncs"),
      cluster.get<{ readonly reasons: unknown; readonly devices: unknown }>(1, "/v1/status"),
      cluster.get<{ readonly events: readonly unknown[] }>(1, "/v1/events"),
    ]);
    const { reasons, devices } = status;
    return { resyncs, reasons, devices, events: events.slice(-20) };
  }
}
