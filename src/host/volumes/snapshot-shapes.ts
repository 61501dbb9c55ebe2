/** The shapes of what is asked and answered about snapshots and clones. */
import type * as views from "./snapshot-views.ts";
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, flag, list, may, must, text, volumeName } from "../api/shape-words.ts";
import { attachmentViewShape } from "./attach-shapes.ts";

export const snapshotShape: ObjectShape<views.SnapshotView> = {
  kind: "object",
  description: "A snapshot",
  fields: {
    name: must(text("VOLUME@SNAPSHOT")),
    volume: must(text("The volume's name")),
    objectId: must(text("Its object's id")),
    sizeBytes: must(count("Its size")),
    logicalBytes: may(count("Bytes that hold data; shared ones are counted for each")),
    uniqueBytes: may(count("Of one copy: bytes that deleting it gives back")),
    createdMs: must(count("When it was taken, in milliseconds since 1970")),
    sequence: must(count("It holds what was decided up to here")),
    accessible: must(flag("It can be read")),
    reason: may(text("Why it is not accessible")),
    attachment: may(attachmentViewShape),
  },
};

export const snapshotListShape: ObjectShape<views.SnapshotList> = {
  kind: "object",
  description: "The snapshots",
  fields: { snapshots: must(list("By name", snapshotShape)) },
};

export const snapshotListRequestShape: ObjectShape<views.SnapshotListRequest> = {
  kind: "object",
  description: "Which ones",
  fields: { volume: may(volumeName("Of this volume only")) },
};

export const volumeChangesRequestShape: ObjectShape<views.VolumeChangesRequest> = {
  kind: "object",
  description: "Of what, and since when",
  fields: {
    name: must(volumeName("A volume, or a snapshot as VOLUME@SNAPSHOT")),
    since: may(volumeName("An older snapshot of the same volume, without the volume's name")),
    offset: may({
      kind: "integer",
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      description: "Where to begin, a multiple of 4096",
    }),
    digest: may(flag("Tell the digest of all that it holds, too")),
  },
};

const changedRangeShape: ObjectShape<views.ChangedRangeView> = {
  kind: "object",
  description: "A range",
  fields: {
    kind: must(choice("What it holds now", ["data", "allocated-zero", "hole"])),
    offset: must(count("Its beginning")),
    lengthBytes: must(count("Its length")),
  },
};

export const volumeChangesShape: ObjectShape<views.VolumeChangesView> = {
  kind: "object",
  description: "What has changed",
  fields: {
    name: must(text("Of what")),
    sizeBytes: must(count("Its size")),
    ranges: must(list("In order; of 64 MiB at a time", changedRangeShape)),
    nextOffset: may(count("Where the next answer begins; absent at the end")),
    digest: may(text("Of all that it holds; equal wherever the same is held")),
    domainId: may(text("The key domain if the digest is of encrypted blocks; others differ")),
  },
};

export const cloneShape: ObjectShape<views.CloneRequest> = {
  kind: "object",
  description: "What is to be cloned",
  fields: {
    name: must(volumeName("A volume, or a snapshot as VOLUME@SNAPSHOT")),
    clone: must(volumeName("The new volume, a name that no other volume has")),
  },
};
