/** The shapes of what is asked and answered about attaching volumes. */
import {
  ADDRESS_LENGTH_MAX,
  nbdAddressInvalid,
  ownerInvalid,
  socketPathInvalid,
  VHOST_QUEUES_MAX,
} from "../names.ts";
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, flag, may, must, text, volumeName } from "../api/shape-words.ts";
import type * as views from "../api/views.ts";

const nbdAddress = {
  kind: "text",
  lengthMax: ADDRESS_LENGTH_MAX,
  invalid: nbdAddressInvalid,
  description:
    "A unix socket's path or ADDRESS:PORT; without it a socket in the host's state directory",
  example: "/run/drystone/web1.sock",
} as const;
const underTls = flag("Under TLS, also on this machine");
const inTheClear = flag("Without TLS, also for other machines");

export const volumeAttachShape: ObjectShape<views.VolumeAttachRequest> = {
  kind: "object",
  description: "Where the volume is offered",
  fields: {
    name: must(volumeName("The volume")),
    nbd: may(nbdAddress),
    tls: may(underTls),
    plain: may(inTheClear),
    vhostUser: may({
      kind: "text",
      lengthMax: ADDRESS_LENGTH_MAX,
      invalid: socketPathInvalid,
      description: "A socket's path for a virtual machine that uses the volume over vhost-user",
      example: "/run/drystone/web1.vhost",
    }),
    vhostQueues: may({
      kind: "integer",
      min: 1,
      max: VHOST_QUEUES_MAX,
      description: "Queues over vhost-user, one per virtual CPU at most (default 4)",
    }),
    vhostOwner: may({
      kind: "text",
      lengthMax: 32,
      invalid: ownerInvalid,
      description: "UID:GID of the vhost-user socket (default: the host's own)",
      example: "107:107",
    }),
    readOnly: may(flag("Refuse writes")),
    host: may(volumeName("The host that offers it (default: the one asked)")),
  },
};

export const volumeMoveShape: ObjectShape<views.VolumeMoveRequest> = {
  kind: "object",
  description: "Where an attached volume is to be offered from now on",
  fields: {
    name: must(volumeName("The volume")),
    host: must(volumeName("The host that is to offer it")),
    nbd: may(nbdAddress),
    tls: may(underTls),
    plain: may(inTheClear),
  },
};

export const attachmentViewShape: ObjectShape<views.AttachmentView> = {
  kind: "object",
  description: "Where a volume is offered",
  fields: {
    volume: must(text("The volume")),
    host: must(text("The host that offers it")),
    kind: must(choice("The protocol", ["nbd"])),
    address: must(text("Socket path or ADDRESS:PORT")),
    uri: must(text("For clients that take a URI")),
    tls: must(flag("Clients have to prove who they are")),
    readOnly: must(flag("Writes are refused")),
    vhostUser: may({
      kind: "object",
      description: "The socket for a virtual machine",
      fields: {
        socket: must(text("Its path")),
        queues: must(count("Queues")),
        connected: must(flag("A machine is connected")),
        qemu: must(text("Arguments of QEMU for a machine with this disk, as a shell takes them")),
      },
    }),
    state: must(choice("Whether it is being offered", ["online", "holding", "failed"])),
    reason: may(text("Why it is not")),
  },
};
