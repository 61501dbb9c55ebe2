/**
 * Disks. Those that lose or change what was stored are for the sick host only; the others do not
 * touch what was acknowledged and may hit every host.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { Prng } from "../base/index.ts";
import type { SimDisk } from "../sim/index.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { drawDurationMs, pickHost } from "./host-faults.ts";
import { shuffled } from "./names.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

type Play = (disk: SimDisk, host: TrialHost, prng: Prng) => (() => void) | undefined;

/** Something is done to a host's disk and taken back at the end. */
function onDisk(name: string, needs: FaultKind["needs"], play: Play): FaultKind {
  return {
    name,
    needs,
    begin: (world, prng) => {
      const host = pickHost(world, prng, "disk");
      if (host === undefined) return undefined;
      const end = host.disk === undefined ? undefined : play(host.disk, host, prng);
      if (end === undefined) {
        world.release(`disk of ${host.name}`);
        return undefined;
      }
      host.diskFaults++;
      return {
        what: `${name} on ${host.name}`,
        durationMs: drawDurationMs(prng),
        end: () => {
          host.diskFaults--;
          end();
          world.release(`disk of ${host.name}`);
          restartIfFailed(world, host);
        },
      };
    },
  };
}

/** A device that had a failed write refuses everything until its host starts anew. */
function broken(name: string, play: (disk: SimDisk) => void): FaultKind {
  return {
    name,
    needs: "either",
    begin: (world, prng): Fault | undefined => {
      const host = pickHost(world, prng, "life");
      if (host === undefined) return undefined;
      const { disk, machine } = host;
      if (disk === undefined) {
        world.release(`life of ${host.name}`);
        return undefined;
      }
      play(disk);
      host.diskFaults++;
      return {
        what: `${name} on ${host.name}`,
        durationMs: drawDurationMs(prng),
        end: () => replaceCable(world, host, machine),
      };
    },
  };
}

/** A journal that could not be written is closed until its host starts anew. */
function restartIfFailed(world: TrialWorld, host: TrialHost): void {
  if (host.device?.state.journal.hasFailed !== true || !world.claim(`life of ${host.name}`)) return;
  world.release(`life of ${host.name}`);
  host.kill();
  host.start();
}

function replaceCable(world: TrialWorld, host: TrialHost, machine: TrialHost["machine"]): void {
  host.diskFaults--;
  world.release(`life of ${host.name}`);
  if (host.machine !== machine) return;
  host.kill();
  host.start();
}

/**
 * A page that holds something, beyond the superblock and its copy. Most are of the journal, in
 * which hardly anything is needed still: half of the time it is a block of the store.
 */
function usedOffset(host: TrialHost, prng: Prng): number | undefined {
  const stored = prng.chance(0.5) ? storedOffsets(host) : [];
  if (stored.length > 0) return prng.pick(stored);
  const pages = host.media.disk.usedPages().filter((page) => page > 0);
  return pages.length === 0 ? undefined : prng.pick(pages) * BLOCK_SIZE_BYTES;
}

function storedOffsets({ device }: TrialHost): readonly number[] {
  if (device === undefined) return [];
  const { space, superblock } = device.state;
  const offsets: number[] = [];
  for (let block = 0; block < space.blockCount; block++)
    if (space.isUsedOnDisk(block)) offsets.push(superblock.blocksOffset + block * BLOCK_SIZE_BYTES);
  return offsets;
}

/**
 * What was kept of a disk is put in its place, later than such a copy can be told from the disk.
 */
const OLD_DISK_MS_MIN = 6000;

const OLD_DISK: FaultKind = {
  name: "old-disk",
  needs: "sick-host",
  begin: (world, prng) => {
    const host = pickHost(world, prng, "life");
    const image = host?.image();
    if (host === undefined) return undefined;
    if (image === undefined) {
      world.release(`life of ${host.name}`);
      return undefined;
    }
    // Made while the disk was full, it has room again when it is put in its place.
    image.disk.capacityBytes = image.disk.sizeBytes;
    image.metadata.capacityBytes = Infinity;
    return {
      what: `a copy is made of the disk of ${host.name}`,
      durationMs: prng.between(OLD_DISK_MS_MIN, 3 * OLD_DISK_MS_MIN),
      end: () => {
        world.release(`life of ${host.name}`);
        // Cut short at the end of all faults, the copy may be as good as the disk.
        if (world.isHealing || host.isLost) return;
        host.replaceDisk(image);
        host.start();
      },
    };
  },
};

/** Its host finds nothing on it, and makes a device of it: all that it had is to be made anew. */
const EMPTIED_DISK: FaultKind = {
  name: "emptied-disk",
  needs: "sick-host",
  begin: (world, prng) => {
    const host = pickHost(world, prng, "life");
    if (host === undefined) return undefined;
    const empty = host.isLost ? undefined : world.spareDisks.pop();
    if (empty === undefined) {
      world.release(`life of ${host.name}`);
      return undefined;
    }
    if (!host.isOff) host.kill();
    return {
      what: `the disk of ${host.name} is emptied`,
      durationMs: drawDurationMs(prng),
      end: () => {
        world.release(`life of ${host.name}`);
        if (host.isLost) return;
        host.replaceDisk(empty);
        host.start();
      },
    };
  },
};

/** Each of two hosts finds the other's disk, and may do nothing with it. */
const SWAPPED_DISKS: FaultKind = {
  name: "swapped-disks",
  needs: "any-host",
  begin: (world, prng) => {
    const hosts = shuffled(prng, world.hosts).filter((host) => world.claim(`life of ${host.name}`));
    for (const host of hosts.slice(2)) world.release(`life of ${host.name}`);
    const [a, b] = hosts;
    if (a === undefined || b === undefined) {
      if (a !== undefined) world.release(`life of ${a.name}`);
      return undefined;
    }
    const swap = (): void => {
      const { media } = a;
      a.replaceDisk(b.media);
      b.replaceDisk(media);
    };
    for (const host of [a, b]) if (!host.isOff) host.kill();
    swap();
    for (const host of [a, b]) {
      host.diskFaults++;
      host.start();
    }
    return {
      what: `${a.name} and ${b.name} have each other's disk`,
      durationMs: drawDurationMs(prng),
      end: () => {
        for (const host of [a, b]) {
          if (host.device !== undefined)
            world.fail("device", `${host.name} has opened the disk of another host`);
          if (!host.isOff) host.kill();
        }
        swap();
        for (const host of [a, b]) {
          host.diskFaults--;
          world.release(`life of ${host.name}`);
          host.start();
        }
      },
    };
  },
};

export const DISK_FAULTS: readonly FaultKind[] = [
  OLD_DISK,
  EMPTIED_DISK,
  SWAPPED_DISKS,
  onDisk("slow-disk", "either", (disk, _host, prng) => {
    const before = [disk.readLatency, disk.writeLatency, disk.flushLatency] as const;
    const slow = { minMs: 1, maxMs: prng.between(20, 1500) };
    disk.readLatency = slow;
    disk.writeLatency = slow;
    disk.flushLatency = slow;
    return () => {
      [disk.readLatency, disk.writeLatency, disk.flushLatency] = before;
    };
  }),
  onDisk("hung-disk", "either", (disk) => {
    disk.hang();
    return () => disk.unhang();
  }),
  onDisk("full-disk", "either", (_disk, host) => {
    const { disk: medium } = host.media;
    const before = medium.capacityBytes;
    medium.capacityBytes = medium.allocatedBytes;
    return () => {
      medium.capacityBytes = before;
    };
  }),
  onDisk("full-metadata", "either", (_disk, host) => {
    const { metadata } = host.media;
    metadata.capacityBytes = metadata.usedBytes + 1024;
    return () => {
      metadata.capacityBytes = Infinity;
    };
  }),
  broken("failed-write", (disk) => disk.failNextWrites(1)),
  broken("vanished-disk", (disk) => disk.vanish()),
  onDisk("latent-errors", "sick-host", (_disk, host, prng) => {
    const offset = usedOffset(host, prng);
    if (offset === undefined) return undefined;
    host.media.disk.failReads(offset, BLOCK_SIZE_BYTES * prng.pick([1, 4, 64]));
    return () => {};
  }),
  onDisk("bit-flip", "sick-host", (_disk, host, prng) => {
    const offset = usedOffset(host, prng);
    if (offset === undefined) return undefined;
    host.media.disk.flipBit(offset + prng.below(BLOCK_SIZE_BYTES), prng.below(8));
    return () => {};
  }),
  onDisk("lost-write", "sick-host", (disk) => {
    disk.misdirectNextWrite("nowhere");
    return () => disk.misdirectNextWrite(undefined);
  }),
  onDisk("misdirected-write", "sick-host", (disk, _host, prng) => {
    const span = disk.sizeBytes / BLOCK_SIZE_BYTES - 512;
    disk.misdirectNextWrite(prng.below(span) * BLOCK_SIZE_BYTES);
    return () => disk.misdirectNextWrite(undefined);
  }),
];
