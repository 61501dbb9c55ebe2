/**
 * What trials use again: blank formatted devices, one per host, of which each trial gets a copy,
 * and memory. Making these anew would be most of the work of a short trial. All that a trial may
 * need is there before it begins: one that waited for it would go another way than the next one.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { DiskMedium, MetadataMedium, SimDigests, SimDisk, SimLog } from "../sim/index.ts";
import { SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { Device } from "../store/index.ts";
import { CLUSTER_ID, deviceIdOf, hostIdOf } from "./names.ts";

export const SEGMENT_BYTES: number = 2 << 20;
const JOURNAL_SEGMENTS = 4;
const DISK_BYTES = 40 << 20;
/** Pieces of memory of one size: what all hosts that run at a time need. */
const KEPT_MAX = 40;

export interface HostMedia {
  readonly disk: DiskMedium;
  readonly metadata: MetadataMedium;
}

export class Depot {
  readonly #blank = new Map<string, HostMedia>();
  readonly #free = new Map<number, Uint8Array[]>();
  readonly #lent = new Set<Uint8Array>();

  /** From now on this disk of the host is here: its first one, or one that it is given later. */
  async prepare(host: number, number = 0): Promise<void> {
    const deviceId = deviceIdOf(host, number);
    if (!this.#blank.has(deviceId)) this.#blank.set(deviceId, await format(host, deviceId));
  }

  /** Of a disk that was prepared. */
  media(host: number, number = 0): HostMedia {
    const blank = assertDefined(this.#blank.get(deviceIdOf(host, number)), "it was prepared");
    return { disk: blank.disk.fork(), metadata: blank.metadata.fork() };
  }

  /** Zeroed bytes, until `giveBack` or `takeBack`. */
  lend(lengthBytes: number): Uint8Array {
    const bytes = this.#free.get(lengthBytes)?.pop();
    const lent = bytes?.fill(0) ?? new Uint8Array(lengthBytes);
    this.#lent.add(lent);
    return lent;
  }

  /** Nobody uses it any more, and whoever comes next may have it. */
  giveBack(bytes: Uint8Array): void {
    assert(this.#lent.delete(bytes), "what is given back was lent");
    const free = this.#free.get(bytes.length);
    if (free === undefined) this.#free.set(bytes.length, [bytes]);
    else if (free.length < KEPT_MAX) free.push(bytes);
  }

  /** The trial is over: nobody uses its memory any more. */
  takeBack(): void {
    for (const bytes of this.#lent) this.giveBack(bytes);
  }
}

async function format(host: number, deviceId: string): Promise<HostMedia> {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const media = {
    disk: new DiskMedium({ sizeBytes: DISK_BYTES }),
    metadata: new MetadataMedium(),
  };
  const disk = new SimDisk(machine, media.disk, { alignmentBytes: BLOCK_SIZE_BYTES });
  const metadata = new SimMetadataStore(machine, media.metadata);
  await simulation.run(async () => {
    const { clock } = machine;
    const digests = new SimDigests(machine, { mode: "fast" });
    await Device.format(
      { disk, metadata, digests, clock, log: new SimLog(clock) },
      {
        clusterId: CLUSTER_ID,
        hostId: hostIdOf(host),
        deviceId,
        journalBytes: JOURNAL_SEGMENTS * SEGMENT_BYTES,
        segmentBytes: SEGMENT_BYTES,
      },
    );
    await disk.close();
    await metadata.close();
  });
  return media;
}
