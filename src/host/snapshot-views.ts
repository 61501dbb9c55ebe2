/** What the API shows and takes about snapshots and clones. */
import type { AttachmentView } from "./views.ts";

export interface SnapshotView {
  /** VOLUME@SNAPSHOT. */
  readonly name: string;
  readonly volume: string;
  readonly objectId: string;
  readonly sizeBytes: number;
  /** Bytes that hold data, before deduplication; shared ones are counted for each. */
  readonly logicalBytes?: number;
  readonly createdMs: number;
  /** It holds what was decided up to here. */
  readonly sequence: number;
  readonly accessible: boolean;
  readonly reason?: string;
  readonly attachment?: AttachmentView;
}

export interface SnapshotList {
  readonly snapshots: readonly SnapshotView[];
}

export interface SnapshotListRequest {
  readonly volume?: string;
}

export interface CloneRequest {
  /** A volume, or a snapshot. */
  readonly name: string;
  readonly clone: string;
}
