/** Closed frames in the journal's memory, oldest first, for what is not on the way of a write. */
import { BLOCK_SIZE_BYTES, getU16, getU32, getU64 } from "../base/index.ts";
import { decodeRecord, FrameHeaderLayout, newRecordHeader, recordAt } from "../format/index.ts";
import type { RecordHeader } from "../format/index.ts";
import type { Journal } from "./journal.ts";

/** `location` is that of the record's first payload block. */
export type WalkVisitor = (record: RecordHeader, location: number, frame: number) => void;

/** Visits the records of all frames that are not destaged. `record` is reused. */
export function walkJournal(journal: Journal, visit: WalkVisitor): void {
  const slots = [...journal.slotGeneration.keys()].filter((slot) => {
    return journal.slotGeneration[slot]! >= 0;
  });
  slots.sort((a, b) => journal.slotGeneration[a]! - journal.slotGeneration[b]!);
  const bytes = journal.memory.bytes;
  const record = newRecordHeader();
  for (const slot of slots) {
    let block = 0;
    while (block < journal.slotUsed[slot]!) {
      const frameBlock = slot * journal.segmentBlocks + block;
      const at = frameBlock * BLOCK_SIZE_BYTES;
      const frame = getU64(bytes, at + FrameHeaderLayout.at.frameNumber);
      const recordCount = getU16(bytes, at + FrameHeaderLayout.at.recordCount);
      block += getU32(bytes, at + FrameHeaderLayout.at.payloadBlocks) + 2;
      if (frame <= journal.destagedFrame) continue;
      for (let index = 0; index < recordCount; index++) {
        decodeRecord(bytes, recordAt(at, index), record);
        visit(record, journal.locationOf(record, frameBlock), frame);
      }
    }
  }
}
