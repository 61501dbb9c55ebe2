/** What the API shows and takes about snapshots and clones. */
import type { AttachmentView } from "../api/views.ts";

export interface SnapshotView {
  /** VOLUME@SNAPSHOT. */
  readonly name: string;
  readonly volume: string;
  readonly objectId: string;
  readonly sizeBytes: number;
  /** Bytes that hold data, before deduplication; shared ones are counted for each. */
  readonly logicalBytes?: number;
  /** Of one copy: what deleting it gives back. */
  readonly uniqueBytes?: number;
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

export interface VolumeChangesRequest {
  /** A volume, or a snapshot. */
  readonly name: string;
  /** The name of an older snapshot of the same volume, without the volume's. */
  readonly since?: string;
  /** Where to begin. */
  readonly offset?: number;
  /** Tell the digest, too. */
  readonly digest?: boolean;
}

export interface ChangedRangeView {
  readonly kind: "data" | "allocated-zero" | "hole";
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface VolumeChangesView {
  readonly name: string;
  readonly sizeBytes: number;
  readonly ranges: readonly ChangedRangeView[];
  /** Where the next answer begins; absent at the end. */
  readonly nextOffset?: number;
  /** Of all that it holds; equal wherever the same is held. */
  readonly digest?: string;
  /** Set if the digest is of encrypted blocks: those of one key domain alone compare. */
  readonly domainId?: string;
}

export interface CloneRequest {
  /** A volume, or a snapshot. */
  readonly name: string;
  readonly clone: string;
}
