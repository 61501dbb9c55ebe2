/** What a virtio disk says of itself: feature bits and the configuration space. */
import {
  assert,
  BLOCK_SIZE_BYTES,
  encodeUtf8,
  SECTOR_SIZE_BYTES,
  setU16,
  setU32,
  setU64,
} from "../../base/index.ts";
import { VIRTIO_BLK_ID_BYTES, VirtioBit, VirtioBlkConfigLayout } from "../../format/index.ts";
import type { VolumeIo } from "../../object/index.ts";

export const CONFIG_BYTES: number = VirtioBlkConfigLayout.sizeBytes;
/** Buffers with data in one request; a chain has two more. */
const DATA_SEGMENTS_MAX = 254;
/** Sectors of one discard or write-zeroes: 1 GiB. */
export const ZERO_SECTORS_MAX: number = 2 ** 30 / SECTOR_SIZE_BYTES;
const { at } = VirtioBlkConfigLayout;

export interface DeviceOptions {
  readonly queueCount: number;
  /** What a guest's /dev/disk/by-id shows; cut to 20 bytes. */
  readonly serial: string;
}

export class BlockDevice {
  readonly volume: VolumeIo;
  readonly queueCount: number;
  readonly serial: Uint8Array = new Uint8Array(VIRTIO_BLK_ID_BYTES);
  #writeCache = 1;

  constructor(volume: VolumeIo, options: DeviceOptions) {
    this.volume = volume;
    this.queueCount = options.queueCount;
    this.serial.set(encodeUtf8(options.serial).subarray(0, VIRTIO_BLK_ID_BYTES));
  }

  /** Feature bits of the device, by number. */
  featureBits(): readonly number[] {
    const bits: number[] = [
      VirtioBit.blkSegMax,
      VirtioBit.blkBlockSize,
      VirtioBit.blkFlush,
      VirtioBit.blkTopology,
      VirtioBit.blkConfigWce,
      VirtioBit.blkQueues,
      VirtioBit.blkDiscard,
      VirtioBit.blkWriteZeroes,
    ];
    if (this.volume.readOnly) bits.push(VirtioBit.blkReadOnly);
    return bits;
  }

  /** The configuration space as it is now: the volume may have grown. */
  config(): Uint8Array {
    const config = new Uint8Array(CONFIG_BYTES);
    const sectorsPerBlock = BLOCK_SIZE_BYTES / SECTOR_SIZE_BYTES;
    setU64(config, at.capacity, Math.floor(this.volume.sizeBytes / SECTOR_SIZE_BYTES));
    setU32(config, at.segMax, DATA_SEGMENTS_MAX);
    setU32(config, at.blockSize, SECTOR_SIZE_BYTES);
    config[at.physicalBlockExponent] = Math.log2(sectorsPerBlock);
    setU16(config, at.ioSizeMin, sectorsPerBlock);
    setU32(config, at.ioSizeBest, sectorsPerBlock);
    config[at.writeCache] = this.#writeCache;
    setU16(config, at.queueCount, this.queueCount);
    setU32(config, at.discardSectorsMax, ZERO_SECTORS_MAX);
    setU32(config, at.discardRangesMax, 1);
    setU32(config, at.discardAlignment, sectorsPerBlock);
    setU32(config, at.zeroSectorsMax, ZERO_SECTORS_MAX);
    setU32(config, at.zeroRangesMax, 1);
    config[at.zeroMayUnmap] = 1;
    return config;
  }

  /**
   * The guest writes to the configuration space: only the mode of the write cache may be written,
   * which changes nothing, because what was answered is durable in either mode. False: refused.
   */
  writeConfig(offset: number, bytes: Uint8Array): boolean {
    const mode = bytes[0];
    const isMode = offset === at.writeCache && bytes.length === 1 && mode !== undefined;
    if (!isMode || mode > 1) return false;
    this.#writeCache = mode;
    return true;
  }
}

assert(CONFIG_BYTES === 60, "the configuration space ends after the fields of write-zeroes");
