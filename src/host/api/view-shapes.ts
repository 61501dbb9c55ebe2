/** The shapes of `views.ts`. The compiler holds each against its interface. */
import { volumeEncryptionShape } from "../keys/key-views.ts";
import { SERVICE_MODES } from "../../cluster/index.ts";
import { attachmentViewShape } from "../volumes/attach-shapes.ts";
import { rotationShape } from "../certificates/certificate-views.ts";
import { directoryShape } from "../directory/directory-views.ts";
export { scrubShape, statsShape } from "./stats-shapes.ts";
import { policyShape, resyncShape } from "../upkeep/resync-shape.ts";
import type { ObjectShape } from "./shape.ts";
import {
  choice,
  count,
  flag,
  list,
  may,
  must,
  number,
  record,
  text,
  volumeName,
  volumeSize,
  VOLUME_SIZE_DESCRIPTION,
} from "./shape-words.ts";
import type * as views from "./views.ts";

const TOKEN_MINUTES_MAX = 24 * 60;

export const nothingShape: ObjectShape<views.Nothing> = {
  kind: "object",
  description: "Nothing",
  fields: {},
};

export const doneShape: ObjectShape<views.Done> = {
  kind: "object",
  description: "It is done, and durable",
  fields: { done: must(flag("Always true")) },
};

export const nameRequestShape: ObjectShape<views.NameRequest> = {
  kind: "object",
  description: "Which one",
  fields: { name: must(volumeName("Its name")) },
};

export const volumeCreateShape: ObjectShape<views.VolumeCreateRequest> = {
  kind: "object",
  description: "The new volume",
  fields: {
    name: must(volumeName("A name that no other volume has")),
    sizeBytes: must(volumeSize(VOLUME_SIZE_DESCRIPTION)),
    failuresToTolerate: may({
      kind: "integer",
      min: 0,
      max: 3,
      description: "Host failures that the volume survives (1 by default, 0 if there is one host)",
    }),
    stripes: may({
      kind: "integer",
      min: 1,
      max: 12,
      description: "Devices that each copy is spread over (1 by default)",
    }),
    encrypted: may(flag("Encrypt its blocks at rest; this never changes afterwards")),
    keyDomain: may({
      kind: "text",
      lengthMax: 63,
      description: "The key domain of an encrypted volume (default)",
      example: "default",
    }),
  },
};

export const volumeResizeShape: ObjectShape<views.VolumeResizeRequest> = {
  kind: "object",
  description: "The new size",
  fields: {
    name: must(volumeName("The volume")),
    sizeBytes: must(volumeSize(VOLUME_SIZE_DESCRIPTION)),
  },
};

export const deviceScrubShape: ObjectShape<views.DeviceScrubRequest> = {
  kind: "object",
  description: "Which device",
  fields: { device: must(text("Its id, or the beginning of its id")) },
};

export const eventsShape: ObjectShape<views.EventsRequest> = {
  kind: "object",
  description: "Which events",
  fields: {
    after: may(count("Only events with a higher sequence")),
    limit: may({
      kind: "integer",
      min: 1,
      max: 1000,
      description: "At most so many, the newest (100)",
    }),
    allHosts: may(flag("Of every host that answers, oldest first; with `host` in each")),
    follow: may(
      flag("Keep the connection and send new events as they happen (server-sent events)"),
    ),
  },
};

export const hostViewShape: ObjectShape<views.HostView> = {
  kind: "object",
  description: "A host",
  fields: {
    name: must(text("Its name")),
    hostId: must(text("Its id, for life")),
    state: must(
      choice("Whether it is reached", [
        "up",
        "storage-unreachable",
        "management-unreachable",
        "down",
      ]),
    ),
    reason: may(text("Why it is not up, as seen from the host that answers")),
    apiAddress: must(text("Where its API listens")),
    storageAddress: may(text("Where other hosts reach its components")),
    storage: may(choice("Whether it is reached over the storage network", ["up", "down"])),
    management: may(
      choice("Whether it is reached over the management network, where that is a second one", [
        "up",
        "down",
      ]),
    ),
    lease: may(choice("Whether it holds its lease in the directory", ["held", "lost", "unknown"])),
    faultDomain: must(text("What fails together with it")),
    version: may(text("The version of its program, if it has told when it started last")),
    clusterVersion: may(count("The newest version of a cluster that it knows")),
    deviceCount: may(count("Its devices, while it answers")),
    attachedCount: must(count("Volumes attached there")),
    maintenance: may(
      choice("While it is in maintenance: what has to leave it first", SERVICE_MODES),
    ),
  },
};

export const seenHostShape: ObjectShape<views.SeenHostView> = {
  kind: "object",
  description: "What one host sees of another one",
  fields: {
    host: must(text("The other one")),
    storage: must(choice("Over the storage network", ["up", "down"])),
    reason: may(text("Why not")),
    management: may(
      choice("Over the management network, where that is a second one", ["up", "down"]),
    ),
  },
};

const networkHostShape: ObjectShape<views.NetworkHostView> = {
  kind: "object",
  description: "A host on the networks",
  fields: {
    name: must(text("Its name")),
    storageAddress: may(text("Its address on the storage network")),
    managementAddress: may(text("Its address on the management network")),
    sees: may(list("What it sees of the others; absent if it does not answer", seenHostShape)),
  },
};

export const networkShape: ObjectShape<views.NetworkView> = {
  kind: "object",
  description: "Which host reaches which",
  fields: { hosts: must(list("Each host's view", networkHostShape)) },
};

export const deviceViewShape: ObjectShape<views.DeviceView> = {
  kind: "object",
  description: "A device",
  fields: {
    deviceId: must(text("Its id, for life")),
    host: must(text("The host that has it")),
    path: must(text("Its directory or block device")),
    state: must(choice("Whether it serves", ["online", "failed"])),
    reason: may(text("Why it does not serve")),
    adapter: must(text("How its I/O is done: io_uring or node-fs")),
    capacityBytes: must(count("Its size")),
    freeBytes: must(count("Bytes that new data can take")),
    logicalBytes: must(count("Bytes stored, before deduplication")),
    uniqueBytes: must(count("Bytes of distinct content")),
    physicalBytes: must(count("Bytes taken, journal and metadata included")),
    reclaimableBytes: must(count("Bytes that the next reclaim gives back")),
    checksumErrors: must(count("Blocks whose checksum was wrong since the host started")),
    readErrors: must(count("Reads that the device refused since the host started")),
    damagedBlocks: must(count("Stored blocks that are known to be damaged")),
    componentCount: must(count("Components on it")),
    isLeaving: may(flag("It was told to be removed: everything moves off it")),
    scrubShare: may(number("While it is scrubbed: how much of it is done, 0 to 1")),
  },
};

export const treeViewShape: ObjectShape<views.TreeView> = {
  kind: "object",
  description: "A node of the tree that spreads the object",
  fields: {
    kind: must(choice("The node", ["component", "mirror", "stripe", "witness"])),
    componentId: may(text("The component, for leaves")),
    children: may({
      kind: "list",
      countMax: 64,
      description: "Nodes below",
      get of(): ObjectShape<views.TreeView> {
        return treeViewShape;
      },
    }),
  },
};

const componentViewShape: ObjectShape<views.ComponentView> = {
  kind: "object",
  description: "A component",
  fields: {
    componentId: must(text("Its id")),
    host: must(text("The host that has it")),
    device: must(text("The device that has it")),
    state: must(text("active, stale, catching-up, building or absent")),
    sequence: may(count("The newest committed transaction")),
    reason: may(text("Why it is not good, or has not left yet, and what would help")),
  },
};

export const volumeViewShape: ObjectShape<views.VolumeView> = {
  kind: "object",
  description: "A volume",
  fields: {
    name: must(text("Its name")),
    objectId: must(text("Its object's id")),
    sizeBytes: must(count("Its size")),
    logicalBytes: may(count("Bytes that hold data, before deduplication")),
    failuresToTolerate: must(count("Host failures that it survives")),
    stripes: must(count("Devices that each copy is spread over")),
    change: may(policyShape),
    accessible: must(flag("It can be read and written")),
    reason: may(text("Why it is not accessible")),
    epoch: must(count("The owner's generation")),
    owner: may(text("The host that orders its writes")),
    tree: must(treeViewShape),
    components: must(list("Its parts", componentViewShape)),
    attachment: may(attachmentViewShape),
    ageMs: may(count("While the directory cannot be asked: how long ago it was so")),
    encryption: may(volumeEncryptionShape),
  },
};

const reasonShape: ObjectShape<views.HealthReason> = {
  kind: "object",
  description: "Why, and what to do",
  fields: {
    code: must(text("A word for machines")),
    message: must(text("What is wrong")),
    action: must(text("What to do")),
  },
};

const CONDITION_WORDS = [
  ...(["host-failed", "host-silent", "host-isolated"] as const),
  ...(["management-partition", "storage-partition"] as const),
];

const conditionShape: ObjectShape<views.HostConditionView> = {
  kind: "object",
  description: "What is the matter with hosts and networks",
  fields: {
    kind: must(choice("What it is", CONDITION_WORDS)),
    hosts: must(list("The hosts it is about", text("A host"))),
    message: must(text("What was found")),
    meaning: must(text("What it means for machines and volumes")),
    action: must(text("What to do")),
  },
};

const capacityShape: ObjectShape<views.CapacityView> = {
  kind: "object",
  description: "Space of all devices together",
  fields: {
    capacityBytes: must(count("All of it")),
    freeBytes: must(count("Free")),
    usedBytes: must(count("Taken")),
  },
};

export const statusShape: ObjectShape<views.StatusView> = {
  kind: "object",
  description: "The cluster on one screen",
  fields: {
    health: must(choice("One word", ["healthy", "degraded", "failed"])),
    reasons: must(list("Why it is not healthy", reasonShape)),
    version: must(text("The version of the host that was asked")),
    clusterId: must(text("The cluster's id")),
    uptimeMs: must(count("Milliseconds since the host started")),
    hosts: must(list("All hosts", hostViewShape)),
    devices: must(list("All devices", deviceViewShape)),
    capacity: must(capacityShape),
    volumeCount: must(count("Volumes that exist")),
    attachments: must(list("Volumes that are attached", attachmentViewShape)),
    resyncs: must(list("What is being repaired, moved or caught up", resyncShape)),
    directory: may(directoryShape),
    conditions: must(list("What is the matter with hosts and networks", conditionShape)),
    views: may(
      list("What each host sees of the others; absent while nothing is", networkHostShape),
    ),
    clusterVersion: may(count("Which formats and messages the cluster uses")),
    rotation: may(rotationShape),
  },
};

const eventShape: ObjectShape<views.EventView> = {
  kind: "object",
  description: "Something that happened",
  fields: {
    sequence: must(count("Grows by one per event")),
    timeMs: must(count("Milliseconds since 1970")),
    level: must(choice("How bad", ["info", "warning", "error"])),
    kind: must(text("A word for machines")),
    message: must(text("What happened")),
    details: must(record("Facts for machines")),
    host: may(text("Whose event it is, where all hosts were asked")),
  },
};

export const hostListShape: ObjectShape<views.HostList> = {
  kind: "object",
  description: "All hosts",
  fields: { hosts: must(list("The hosts", hostViewShape)) },
};

export const volumeListShape: ObjectShape<views.VolumeList> = {
  kind: "object",
  description: "All volumes",
  fields: {
    volumes: must(list("The volumes, by name", volumeViewShape)),
    ageMs: may(count("While the directory cannot be asked: how long ago they were so")),
  },
};

export const deviceListShape: ObjectShape<views.DeviceList> = {
  kind: "object",
  description: "All devices",
  fields: { devices: must(list("The devices", deviceViewShape)) },
};

export const eventListShape: ObjectShape<views.EventList> = {
  kind: "object",
  description: "Events, oldest first",
  fields: {
    events: must(list("The events", eventShape)),
    lastSequence: must(count("The newest sequence there is on the host that answers")),
    silentHosts: may(list("Hosts that did not answer, where all were asked", text("A host"))),
  },
};

export const tokenCreateRequestShape: ObjectShape<views.TokenCreateRequest> = {
  kind: "object",
  description: "A token with which one host may join",
  fields: {
    ttlMinutes: may({
      kind: "integer",
      min: 1,
      max: TOKEN_MINUTES_MAX,
      description: "Minutes until it expires (default: 30)",
      example: 30,
    }),
  },
};

export const tokenViewShape: ObjectShape<views.TokenView> = {
  kind: "object",
  description: "A token",
  fields: {
    token: must(text("To be given to drystone join, once")),
    expiresMs: must(count("When it expires, in milliseconds since 1970")),
  },
};
