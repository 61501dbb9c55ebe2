/** The rows of the operation table that are about volumes. */
import { attachmentViewShape, volumeAttachShape, volumeMoveShape } from "./attach-shapes.ts";
import type { OperationTable } from "../api/operations.ts";
import * as shapes from "../api/view-shapes.ts";

type VolumeOperation =
  | "volume.create"
  | "volume.list"
  | "volume.show"
  | "volume.resize"
  | "volume.delete"
  | "volume.attach"
  | "volume.detach"
  | "volume.move";

const KEY_ERRORS = [
  "cluster-key-missing",
  "cluster-key-invalid",
  "cluster-key-wrong",
  "key-domain-gone",
] as const;

/** Of where a volume is offered. */
const ADDRESS_OPTIONS = [
  {
    name: "nbd",
    field: "nbd",
    kind: "address",
    argument: "SOCKET-OR-ADDRESS",
    summary: "A unix socket's path, or ADDRESS:PORT; to other machines under TLS",
  },
  { name: "tls", field: "tls", kind: "flag", summary: "Under TLS, also on this machine" },
  {
    name: "plain",
    field: "plain",
    kind: "flag",
    summary: "Without TLS: everybody who reaches the address may use the volume",
  },
] as const;

export const volumeOperations: Pick<OperationTable, VolumeOperation> = {
  "volume.create": {
    name: "volume.create",
    words: ["volume", "create"],
    summary: "Create a volume: thin, takes space only for what is written",
    examples: [
      { line: "drystone volume create web1 --size 10G", why: "10 GiB" },
      { line: "drystone volume create db --size 1.5T --json", why: "for scripts" },
      {
        line: "drystone volume create db --size 1T --encrypted --key-domain tenant1",
        why: "encrypted at rest, with a key of its own",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "size",
        field: "sizeBytes",
        kind: "size",
        argument: "SIZE",
        summary: "Size: 10G, 1.5T, or bytes",
      },
      {
        name: "failures-to-tolerate",
        field: "failuresToTolerate",
        kind: "count",
        argument: "N",
        summary: "Host failures to survive (1; 0 if there is one host)",
      },
      {
        name: "stripes",
        field: "stripes",
        kind: "count",
        argument: "N",
        summary: "Devices per copy (1)",
      },
      {
        name: "encrypted",
        field: "encrypted",
        kind: "flag",
        summary: "Encrypt its blocks at rest",
      },
      {
        name: "key-domain",
        field: "keyDomain",
        kind: "text",
        argument: "DOMAIN",
        summary: "Whose key encrypts it, and with whose volumes it shares equal blocks (default)",
      },
    ],
    method: "POST",
    path: "/v1/volumes",
    scope: "cluster",
    role: "operator",
    request: shapes.volumeCreateShape,
    response: shapes.volumeViewShape,
    errors: [
      "volume-name-invalid",
      "volume-size-invalid",
      "volume-exists",
      "policy-unsatisfiable",
      ...KEY_ERRORS,
    ],
  },
  "volume.list": {
    name: "volume.list",
    words: ["volume", "list"],
    summary: "List the volumes",
    examples: [{ line: "drystone volume list", why: "every volume on a line" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/volumes",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.volumeListShape,
    errors: [],
  },
  "volume.show": {
    name: "volume.show",
    words: ["volume", "show"],
    summary: "Show a volume: its tree, owner, components and where it is attached",
    examples: [{ line: "drystone volume show web1", why: "the volume named web1" }],
    positionals: ["name"],
    options: [],
    method: "GET",
    path: "/v1/volumes/:name",
    scope: "cluster",
    role: "viewer",
    request: shapes.nameRequestShape,
    response: shapes.volumeViewShape,
    errors: ["volume-not-found"],
  },
  "volume.resize": {
    name: "volume.resize",
    words: ["volume", "resize"],
    summary: "Grow a volume; clients see the new size when they connect again",
    examples: [{ line: "drystone volume resize web1 --size 20G", why: "to 20 GiB" }],
    positionals: ["name"],
    options: [
      { name: "size", field: "sizeBytes", kind: "size", argument: "SIZE", summary: "New size" },
    ],
    method: "POST",
    path: "/v1/volumes/:name/resize",
    scope: "owner",
    role: "operator",
    request: shapes.volumeResizeShape,
    response: shapes.volumeViewShape,
    errors: ["volume-not-found", "volume-size-invalid", "volume-shrink-unsupported", "no-space"],
  },
  "volume.delete": {
    name: "volume.delete",
    words: ["volume", "delete"],
    summary: "Delete a volume and give its space back",
    examples: [
      { line: "drystone volume delete web1", why: "asks for the name on a terminal" },
      { line: "drystone volume delete web1 --yes", why: "does not ask" },
    ],
    positionals: ["name"],
    options: [],
    method: "DELETE",
    path: "/v1/volumes/:name",
    scope: "cluster",
    role: "operator",
    request: shapes.nameRequestShape,
    response: shapes.doneShape,
    errors: ["volume-not-found", "volume-attached", "volume-has-snapshots"],
    danger: "This deletes volume NAME and all its data for ever",
  },
  "volume.attach": {
    name: "volume.attach",
    words: ["volume", "attach"],
    summary: "Offer a volume over NBD; it is offered again after a restart until it is detached",
    examples: [
      { line: "drystone volume attach web1", why: "on a socket in the host's state directory" },
      { line: "drystone volume attach web1 --nbd /run/web1.sock", why: "on a unix socket" },
      {
        line: "drystone volume attach web1 --nbd 10.0.0.1:10809",
        why: "over TCP under TLS, to those whom drystone client create lets in",
      },
      {
        line: "drystone volume attach web1 --vhost-user /run/web1.vhost",
        why: "to QEMU over shared memory, too; prints QEMU's arguments",
      },
    ],
    positionals: ["name"],
    options: [
      ...ADDRESS_OPTIONS,
      {
        name: "vhost-user",
        field: "vhostUser",
        kind: "path",
        argument: "SOCKET",
        summary: "A socket for a virtual machine that uses the volume over shared memory",
      },
      {
        name: "vhost-queues",
        field: "vhostQueues",
        kind: "count",
        argument: "N",
        summary: "Queues of that socket (default 4)",
      },
      {
        name: "vhost-owner",
        field: "vhostOwner",
        kind: "text",
        argument: "UID:GID",
        summary: "Whom that socket belongs to",
      },
      { name: "read-only", field: "readOnly", kind: "flag", summary: "Refuse writes" },
      {
        name: "host",
        field: "host",
        kind: "text",
        argument: "HOST",
        summary: "The host that offers it",
      },
    ],
    method: "POST",
    path: "/v1/volumes/:name/attach",
    scope: "cluster",
    role: "operator",
    request: volumeAttachShape,
    response: attachmentViewShape,
    errors: [
      "volume-not-found",
      "volume-attached",
      "address-in-use",
      "address-invalid",
      "permission-denied",
      "host-unknown",
      "object-inaccessible",
      ...KEY_ERRORS,
    ],
  },
  "volume.detach": {
    name: "volume.detach",
    words: ["volume", "detach"],
    summary: "Stop offering a volume; what is in flight is answered first",
    examples: [{ line: "drystone volume detach web1", why: "disconnects its clients" }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/volumes/:name/detach",
    scope: "cluster",
    role: "operator",
    request: shapes.nameRequestShape,
    response: shapes.doneShape,
    errors: ["volume-not-found", "volume-not-attached"],
  },
  "volume.move": {
    name: "volume.move",
    words: ["volume", "move"],
    summary: "Have another host offer an attached volume; what is asked meanwhile waits",
    examples: [
      { line: "drystone volume move web1 --to h2", why: "clients find it there after a pause" },
      {
        line: "drystone volume move web1 --to h2 --nbd 10.0.0.2:10809",
        why: "over TCP under TLS, as volume attach",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "to",
        field: "host",
        kind: "text",
        argument: "HOST",
        summary: "The host that is to offer it",
      },
      ...ADDRESS_OPTIONS,
    ],
    method: "POST",
    path: "/v1/volumes/:name/move",
    scope: "cluster",
    role: "operator",
    request: volumeMoveShape,
    response: attachmentViewShape,
    errors: [
      "volume-not-found",
      "volume-not-attached",
      "volume-attached",
      "volume-in-use",
      "volume-of-vm",
      "address-in-use",
      "address-invalid",
      "permission-denied",
      "host-unknown",
      "host-unreachable",
      "object-inaccessible",
      ...KEY_ERRORS,
    ],
  },
};
