/** The shapes of what is asked and answered about snapshots and clones. */
import type * as views from "./snapshot-views.ts";
import type { ObjectShape } from "./shape.ts";
import { count, flag, list, may, must, text, volumeName } from "./shape-words.ts";
import { attachmentViewShape } from "./view-shapes.ts";

export const snapshotShape: ObjectShape<views.SnapshotView> = {
  kind: "object",
  description: "A snapshot",
  fields: {
    name: must(text("VOLUME@SNAPSHOT")),
    volume: must(text("The volume's name")),
    objectId: must(text("Its object's id")),
    sizeBytes: must(count("Its size")),
    logicalBytes: may(count("Bytes that hold data; shared ones are counted for each")),
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

export const cloneShape: ObjectShape<views.CloneRequest> = {
  kind: "object",
  description: "What is to be cloned",
  fields: {
    name: must(volumeName("A volume, or a snapshot as VOLUME@SNAPSHOT")),
    clone: must(volumeName("The new volume, a name that no other volume has")),
  },
};
