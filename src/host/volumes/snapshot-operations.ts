/** The rows of the operation table that are about snapshots and clones. */
import type { OperationTable } from "../api/operations.ts";
import * as shapes from "./snapshot-shapes.ts";
import { doneShape, nameRequestShape, volumeViewShape } from "../api/view-shapes.ts";

export type SnapshotOperation =
  | "snapshot.create"
  | "snapshot.list"
  | "snapshot.delete"
  | "snapshot.rollback"
  | "volume.clone"
  | "volume.changes";

const ERRORS = ["volume-not-found", "volume-name-invalid", "object-inaccessible"];

export const snapshotOperations: Pick<OperationTable, SnapshotOperation> = {
  "snapshot.create": {
    name: "snapshot.create",
    words: ["snapshot", "create"],
    summary: "Take a snapshot of a volume, in use or not: at once, and at no cost in space",
    examples: [{ line: "drystone snapshot create web1@monday", why: "of the volume web1" }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/snapshots/:name",
    scope: "owner",
    role: "operator",
    request: nameRequestShape,
    response: shapes.snapshotShape,
    errors: [...ERRORS, "volume-exists", "not-settled"],
  },
  "snapshot.list": {
    name: "snapshot.list",
    words: ["snapshot", "list"],
    summary: "List the snapshots of a volume, or of all",
    examples: [
      { line: "drystone snapshot list", why: "of all volumes" },
      { line: "drystone snapshot list --volume web1", why: "of one" },
    ],
    positionals: [],
    options: [
      {
        name: "volume",
        field: "volume",
        kind: "text",
        argument: "VOLUME",
        summary: "Of this volume only",
      },
    ],
    method: "GET",
    path: "/v1/snapshots",
    scope: "cluster",
    role: "viewer",
    request: shapes.snapshotListRequestShape,
    response: shapes.snapshotListShape,
    errors: ["volume-not-found"],
  },
  "snapshot.delete": {
    name: "snapshot.delete",
    words: ["snapshot", "delete"],
    summary: "Delete a snapshot, in any order, and give back what nothing else holds",
    examples: [{ line: "drystone snapshot delete web1@monday --yes", why: "does not ask" }],
    positionals: ["name"],
    options: [],
    method: "DELETE",
    path: "/v1/snapshots/:name",
    scope: "cluster",
    role: "operator",
    request: nameRequestShape,
    response: doneShape,
    errors: [...ERRORS, "volume-attached"],
    danger: "This deletes snapshot NAME for ever",
  },
  "snapshot.rollback": {
    name: "snapshot.rollback",
    words: ["snapshot", "rollback"],
    summary: "Make a volume that is not attached what a snapshot of it holds; all snapshots stay",
    examples: [{ line: "drystone snapshot rollback web1@monday", why: "web1 is as on monday" }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/snapshots/:name/rollback",
    scope: "cluster",
    role: "operator",
    request: nameRequestShape,
    response: volumeViewShape,
    errors: [...ERRORS, "volume-attached", "volume-in-use"],
    danger: "This undoes for ever what was written to the volume since NAME was taken",
  },
  "volume.changes": {
    name: "volume.changes",
    words: ["volume", "changes"],
    summary: "Tell which ranges of a snapshot hold something, or have changed since an older one",
    examples: [
      { line: "drystone volume changes web1@monday", why: "what is there at all" },
      { line: "drystone volume changes web1@tuesday --since monday", why: "what is new" },
    ],
    positionals: ["name"],
    options: [
      {
        name: "since",
        field: "since",
        kind: "text",
        argument: "SNAPSHOT",
        summary: "An older snapshot of the same volume",
      },
      {
        name: "offset",
        field: "offset",
        kind: "size",
        argument: "OFFSET",
        summary: "Where to begin (0)",
      },
      { name: "digest", field: "digest", kind: "flag", summary: "Tell the digest of it, too" },
    ],
    method: "POST",
    path: "/v1/volumes/:name/changes",
    scope: "owner",
    role: "operator",
    request: shapes.volumeChangesRequestShape,
    response: shapes.volumeChangesShape,
    errors: [...ERRORS, "snapshot-unrelated"],
  },
  "volume.clone": {
    name: "volume.clone",
    words: ["volume", "clone"],
    summary: "Make a new volume of a volume or a snapshot, at once, sharing what they hold",
    examples: [
      { line: "drystone volume clone web1 web2", why: "of the volume as it is" },
      { line: "drystone volume clone web1@monday web2", why: "of a snapshot" },
    ],
    positionals: ["name", "clone"],
    options: [],
    method: "POST",
    path: "/v1/volumes/:name/clone",
    scope: "owner",
    role: "operator",
    request: shapes.cloneShape,
    response: volumeViewShape,
    errors: [...ERRORS, "volume-exists", "not-settled"],
  },
};
