/** Turns the frames that recovery finds into pending blocks and component states. */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import {
  NOT_PLACED,
  RECORD_COMMIT,
  RECORD_DATA,
  RECORD_DROP,
  RECORD_ZERO,
} from "../format/index.ts";
import type { RecordHeader, Superblock } from "../format/index.ts";
import { ChangeLog } from "./change-log.ts";
import type { ComponentInfo, ComponentTable } from "./component-table.ts";
import { geometryOf } from "./device-plan.ts";
import type { Checkpoint } from "./device-records.ts";
import type { DevicePorts } from "./device-state.ts";
import type { Journal } from "./journal.ts";
import { JournalRecovery } from "./journal-recovery.ts";
import { PLACED_LOCATION_FIRST } from "./placed-blocks.ts";
import type { RecoveredRun } from "./placed-blocks.ts";
import { PlacedRecovery } from "./placed-recovery.ts";
import { walkJournal } from "./journal-walk.ts";
import type { RecoveredJournal } from "./journal-recovery.ts";
import {
  LOCATION_DAMAGED,
  LOCATION_HOLE,
  LOCATION_ZERO,
  PendingBlocks,
  RANGE_BLOCKS_MIN,
} from "./pending-blocks.ts";
import type { PendingRange } from "./pending-blocks.ts";
import { VoidRecords } from "./void-records.ts";

export class JournalReplay {
  readonly #ports: DevicePorts;
  readonly #superblock: Superblock;
  readonly #components: ComponentTable;
  readonly #checksums: { readonly block: number; readonly checksum: number }[] = [];
  #entries: {
    component: number;
    blockIndex: number;
    sequence: number;
    location: number;
  }[] = [];
  #ranges: PendingRange[] = [];
  /** By component: everything that is destaged has a sequence up to this one. */
  readonly #destaged = new Map<number, number>();
  readonly voids: VoidRecords = new VoidRecords();
  /** Payload in the block store, in the order of its frames. */
  readonly placedRuns: RecoveredRun[] = [];
  placedBlocks = 0;
  pending: PendingBlocks = new PendingBlocks(1);

  constructor(ports: DevicePorts, superblock: Superblock, components: ComponentTable) {
    this.#ports = ports;
    this.#superblock = superblock;
    this.#components = components;
  }

  /** `backlogBlocks` is what large writes may place before destage has to make room. */
  async run(
    checkpoint: Checkpoint,
    { journalMemoryBytes, backlogBlocks }: { journalMemoryBytes: number; backlogBlocks: number },
  ): Promise<RecoveredJournal> {
    for (const info of this.#components.all())
      this.#destaged.set(info.index, info.committedSequence);
    const geometry = geometryOf(this.#superblock);
    const wanted = Math.floor(journalMemoryBytes / geometry.segmentBytes);
    const memorySegmentsWanted = Math.min(Math.max(3, wanted), geometry.segmentCount - 1);
    const crc = (bytes: Uint8Array, start: number, end: number): number =>
      this.#ports.digests.crc32c(bytes, start, end);
    const placed = new PlacedRecovery(this.#ports, this.#superblock);
    const recovery = new JournalRecovery(this.#ports.disk, crc, geometry, placed);
    const { generation, frameNumber } = checkpoint;
    const recovered = await recovery.replay(
      { generation, frameNumber, memorySegmentsWanted },
      (record, payloadBlock, checksumOf, damaged, frame) => {
        const info = this.#components.at(record.component);
        let location = payloadBlock;
        if (record.kind === RECORD_DATA && record.place !== NOT_PLACED) {
          location = PLACED_LOCATION_FIRST + this.placedBlocks;
          this.placedRuns.push(placed.take(record.place));
          this.placedBlocks += record.blockCount;
        } else if (record.kind === RECORD_DATA) {
          for (let i = 0; i < record.blockCount; i++) {
            const checksum = checksumOf(record.payloadIndex + i);
            this.#checksums.push({ block: payloadBlock + i, checksum });
          }
        }
        if (info === undefined || info.deleting) return;
        info.committedSequence = Math.max(info.committedSequence, record.committed);
        info.journalledCommit = info.committedSequence;
        info.epoch = Math.max(info.epoch, record.epoch);
        if (record.kind === RECORD_COMMIT) return;
        if (record.kind === RECORD_DROP) {
          this.#drop(info, record.sequence, frame);
          return;
        }
        info.preparedSequence = Math.max(info.preparedSequence, record.sequence);
        this.#note(record, location, damaged);
      },
    );
    const memoryBlocks = (recovered.memorySegments * geometry.segmentBytes) / BLOCK_SIZE_BYTES;
    // Every memory block may hold one block's payload; small discards need entries of their own.
    this.#fillPending(memoryBlocks * 2 + backlogBlocks + this.#entries.length);
    return recovered;
  }

  /** The tail above `above` never happened. */
  #drop(info: ComponentInfo, above: number, frame: number): void {
    const isKept = (one: { readonly component: number; readonly sequence: number }): boolean =>
      one.component !== info.index || one.sequence <= above;
    this.#entries = this.#entries.filter(isKept);
    this.#ranges = this.#ranges.filter(isKept);
    this.voids.add(info.index, frame - 1, above);
    info.preparedSequence = above;
  }

  #note(record: RecordHeader, first: number, damaged: ReadonlySet<number>): void {
    const { component, blockIndex, blockCount, sequence } = record;
    const marker = record.kind === RECORD_ZERO ? LOCATION_ZERO : LOCATION_HOLE;
    if (record.kind !== RECORD_DATA && blockCount >= RANGE_BLOCKS_MIN) {
      const end = blockIndex + blockCount;
      this.#ranges.push({ component, start: blockIndex, end, sequence, location: marker });
      return;
    }
    for (let i = 0; i < blockCount; i++) {
      const isDamaged = damaged.has(record.payloadIndex + i);
      const data = isDamaged ? LOCATION_DAMAGED : first + i;
      const location = record.kind === RECORD_DATA ? data : marker;
      this.#entries.push({ component, blockIndex: blockIndex + i, sequence, location });
    }
  }

  #fillPending(capacity: number): void {
    this.pending = new PendingBlocks(capacity);
    for (const { component, blockIndex, sequence, location } of this.#entries) {
      this.pending.put(component, blockIndex, sequence, location);
    }
    for (const range of this.#ranges) this.pending.putRange(range);
  }

  /** Gives memory and checksums to the journal that goes on where recovery ended. */
  handOver(journal: Journal, recovered: RecoveredJournal, destagedFrame: number): void {
    for (const segment of recovered.segments) journal.adopt(segment.slot, segment);
    for (const { block, checksum } of this.#checksums) journal.checksums[block] = checksum;
    journal.resumeDestageAfter(destagedFrame);
  }

  /** What the replayed frames are about; what was destaged before is not in it. */
  changeLog(journal: Journal, changesMax: number | undefined): ChangeLog {
    const log = new ChangeLog(changesMax);
    for (const [component, sequence] of this.#destaged) log.begin(component, sequence);
    walkJournal(journal, (record, _payloadBlock, frame) => {
      if (record.kind === RECORD_COMMIT || record.kind === RECORD_DROP) return;
      if (this.voids.has(record, frame)) return;
      log.note(record.component, record.sequence, record.blockIndex, record.blockCount);
    });
    return log;
  }
}
