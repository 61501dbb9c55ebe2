/** Reading and writing the two superblock copies of a device. */
import { BLOCK_SIZE_BYTES, CodedError, isZero } from "../base/index.ts";
import { DiskRequests } from "../ports/index.ts";
import type { Disk, DiskMemory } from "../ports/index.ts";
import { encodeSuperblock, readSuperblock, SUPERBLOCK_OFFSETS } from "../format/index.ts";
import type { Superblock, SuperblockReading } from "../format/index.ts";

/** What is on a disk. "foreign" has data that is not ours. */
export type DeviceInspection =
  | { readonly kind: "empty" }
  | { readonly kind: "foreign"; readonly what: string }
  | { readonly kind: "unknown-version"; readonly formatVersion: number }
  | { readonly kind: "damaged"; readonly reason: string }
  | { readonly kind: "drystone"; readonly superblock: Superblock; readonly damagedCopies: number };

/** How much of a disk must be zero for it to count as empty. */
const EMPTY_PROBE_BYTES = 1 << 20;

const SIGNATURES: readonly { what: string; offset: number; bytes: readonly number[] }[] = [
  { what: "an ext2/3/4 file system", offset: 1080, bytes: [0x53, 0xef] },
  { what: "an XFS file system", offset: 0, bytes: [0x58, 0x46, 0x53, 0x42] },
  { what: "an LVM physical volume", offset: 536, bytes: [0x4c, 0x56, 0x4d, 0x32] },
  { what: "a LUKS volume", offset: 0, bytes: [0x4c, 0x55, 0x4b, 0x53] },
  { what: "a qcow2 image", offset: 0, bytes: [0x51, 0x46, 0x49, 0xfb] },
  { what: "a btrfs file system", offset: 65_600, bytes: [0x5f, 0x42, 0x48, 0x52] },
  { what: "a partition table", offset: 510, bytes: [0x55, 0xaa] },
];

export async function inspectDisk(disk: Disk): Promise<DeviceInspection> {
  const requests = new DiskRequests(disk);
  const length = Math.min(EMPTY_PROBE_BYTES, disk.sizeBytes);
  const memory = disk.allocate(length);
  const readings: SuperblockReading[] = [];
  for (const offset of SUPERBLOCK_OFFSETS) {
    readings.push(await readCopy(requests, memory, offset));
  }
  const valid = readings.find((reading) => reading.kind === "valid");
  if (valid !== undefined) {
    const damagedCopies = readings.filter((reading) => reading.kind !== "valid").length;
    return { kind: "drystone", superblock: valid.superblock, damagedCopies };
  }
  const unknown = readings.find((reading) => reading.kind === "unknown-version");
  if (unknown !== undefined) return unknown;
  const damaged = readings.find((reading) => reading.kind === "damaged");
  if (damaged !== undefined) return damaged;
  await requests.read(memory, 0, length, 0);
  if (isZero(memory.bytes, 0, length)) return { kind: "empty" };
  const signature = SIGNATURES.find(({ offset, bytes }) =>
    bytes.every((byte, i) => memory.bytes[offset + i] === byte),
  );
  return { kind: "foreign", what: signature?.what ?? "data of unknown kind" };
}

async function readCopy(
  requests: DiskRequests,
  memory: DiskMemory,
  offset: number,
): Promise<SuperblockReading> {
  try {
    await requests.read(memory, 0, BLOCK_SIZE_BYTES, offset);
  } catch (error) {
    if (error instanceof CodedError && error.code === "read-error") {
      return { kind: "damaged", reason: "the device cannot read it" };
    }
    throw error;
  }
  return readSuperblock(memory.bytes.slice(0, BLOCK_SIZE_BYTES));
}

/** Writes every copy, one after the other, each durable before the next. */
export async function writeSuperblocks(disk: Disk, superblock: Superblock): Promise<void> {
  const requests = new DiskRequests(disk);
  const memory = disk.allocate(BLOCK_SIZE_BYTES);
  encodeSuperblock(superblock, memory.bytes.subarray(0, BLOCK_SIZE_BYTES));
  for (const offset of SUPERBLOCK_OFFSETS) {
    await requests.write(memory, 0, BLOCK_SIZE_BYTES, offset);
    await requests.flush();
  }
}

/**
 * Writes zeroes over the journal once, so that no later write there has to allocate anything: on a
 * file system that would make every flush wait for the file system's own journal.
 */
export async function writeBlankJournal(disk: Disk, superblock: Superblock): Promise<void> {
  const { journalOffset, segmentBytes, segmentCount } = superblock;
  const requests = new DiskRequests(disk);
  const memory = disk.allocate(segmentBytes);
  for (let segment = 0; segment < segmentCount; segment++) {
    await requests.write(memory, 0, segmentBytes, journalOffset + segment * segmentBytes);
  }
  await requests.flush();
}

/**
 * The superblock of a device that this host formatted for this cluster, on a disk of `sizeBytes`;
 * every other finding is an error with its reason.
 */
export function requireSuperblock(
  found: DeviceInspection,
  {
    clusterId,
    hostId,
    sizeBytes,
  }: { readonly clusterId: string; readonly hostId?: string; readonly sizeBytes: number },
): Superblock {
  const fail = (code: string, message: string, hint: string): never => {
    throw new CodedError({ code, message, hint });
  };
  switch (found.kind) {
    case "empty":
      return fail("device-empty", "the device is not formatted", "Add it to the cluster first");
    case "foreign":
      return fail(
        "device-foreign",
        `the device holds ${found.what}, not a Drystone store`,
        "Give another device, or pass --wipe to destroy what it holds",
      );
    case "unknown-version":
      return fail(
        "format-unknown",
        `the device has format version ${found.formatVersion}, which this version does not know`,
        "Start it with the version of Drystone that wrote it, or a later one",
      );
    case "damaged":
      return fail(
        "superblock-damaged",
        `both superblocks of the device are unusable: ${found.reason}`,
        "Restore the first megabyte of the device, or pass --wipe to start over without its data",
      );
    case "drystone":
      if (found.superblock.clusterId !== clusterId)
        return fail(
          "device-other-cluster",
          `the device belongs to cluster ${found.superblock.clusterId}, not to ${clusterId}`,
          "Start the host of that cluster with it, or pass --wipe to destroy what it holds",
        );
      if (hostId !== undefined && found.superblock.hostId !== hostId)
        return fail(
          "device-other-host",
          `the device belongs to host ${found.superblock.hostId}, not to ${hostId}`,
          "Put it back into that host, or pass --wipe to destroy what it holds",
        );
      if (endOf(found.superblock) > sizeBytes)
        return fail(
          "device-shrunk",
          `the device has ${sizeBytes} bytes now, and uses ${endOf(found.superblock)}`,
          "Give it back the size that it had, or remove it and rebuild from the other copies",
        );
      return found.superblock;
  }
}

function endOf({ blocksOffset, blockCount }: Superblock): number {
  return blocksOffset + blockCount * BLOCK_SIZE_BYTES;
}
