/** The shapes of what is asked and answered about repairs, and about what leaves. */
import { SERVICE_MODES } from "../../cluster/index.ts";
import type * as views from "./repair-views.ts";
import { resyncShape } from "./resync-shape.ts";
import type { ObjectShape } from "../api/shape.ts";
import {
  choice,
  count,
  flag,
  list,
  may,
  must,
  number,
  text,
  volumeName,
} from "../api/shape-words.ts";

const DELAY_SECONDS_MAX = 30 * 24 * 3600;
const AT_ONCE_MAX = 64;
const FINGERPRINTS = choice(
  "Whether what a device holds already is asked for first; off for comparison",
  ["on", "off"],
);
const MODES = choice("What has to leave first", SERVICE_MODES);

export const resyncListShape: ObjectShape<views.ResyncList> = {
  kind: "object",
  description: "What is being repaired, moved or caught up",
  fields: { resyncs: must(list("The components, by volume", resyncShape)) },
};

export const volumeSetShape: ObjectShape<views.VolumeSetRequest> = {
  kind: "object",
  description: "What is to be different; the rest stays",
  fields: {
    name: must(volumeName("The volume")),
    failuresToTolerate: may({
      kind: "integer",
      min: 0,
      max: 3,
      description: "Host failures that it is to survive",
    }),
    stripes: may({
      kind: "integer",
      min: 1,
      max: 12,
      description: "Devices that each copy is to be spread over",
    }),
    encrypted: may(flag("Refused unless it is so already: encryption cannot be added later")),
  },
};

export const settingsShape: ObjectShape<views.SettingsView> = {
  kind: "object",
  description: "What holds for the whole cluster",
  fields: {
    repairDelaySeconds: must(count("How long a host or device that is away is waited for")),
    rebuildsAtOnce: must(count("Components that are made anew at a time")),
    rebuildsPerDevice: must(count("Of those, that one device takes part in")),
    fingerprints: must(FINGERPRINTS),
    scrubDays: must(count("Within so many days everything that is stored is read once; 0: never")),
    compareHours: must(count("How often the copies of each volume are compared; 0: never")),
  },
};

export const settingsChangeShape: ObjectShape<views.SettingsChangeRequest> = {
  kind: "object",
  description: "What is to change; the rest stays",
  fields: {
    repairDelaySeconds: may({
      kind: "integer",
      min: 0,
      max: DELAY_SECONDS_MAX,
      description: "How long a host or device that is away is waited for (3600)",
    }),
    rebuildsAtOnce: may({
      kind: "integer",
      min: 0,
      max: AT_ONCE_MAX,
      description: "Components that are made anew at a time (4); 0: none",
    }),
    rebuildsPerDevice: may({
      kind: "integer",
      min: 1,
      max: AT_ONCE_MAX,
      description: "Of those, that one device takes part in (2)",
    }),
    fingerprints: may(FINGERPRINTS),
    scrubDays: may({
      kind: "integer",
      min: 0,
      max: 365,
      description: "Within so many days everything that is stored is read once; 0: never",
    }),
    compareHours: may({
      kind: "integer",
      min: 0,
      max: 24 * 365,
      description: "How often the copies of each volume are compared; 0: never",
    }),
  },
};

export const maintenanceOnShape: ObjectShape<views.MaintenanceOnRequest> = {
  kind: "object",
  description: "The host, and what has to leave it",
  fields: {
    name: must(volumeName("The host")),
    mode: may(MODES),
    dryRun: may(flag("Only say what would happen")),
  },
};

export const deviceRequestShape: ObjectShape<views.DeviceRequest> = {
  kind: "object",
  description: "Which device",
  fields: { device: must(text("Its id, or the beginning of its id")) },
};

export const deviceAddShape: ObjectShape<views.DeviceAddRequest> = {
  kind: "object",
  description: "The device",
  fields: {
    path: must(text("An absolute path on the host: a directory or a block device")),
    sizeBytes: may({
      kind: "integer",
      min: 1,
      max: 2 ** 52,
      description: "For a directory; without it what its file system has free",
    }),
  },
};

export const deviceRemoveShape: ObjectShape<views.DeviceRemoveRequest> = {
  kind: "object",
  description: "The device",
  fields: {
    device: must(text("Its id, or the beginning of its id")),
    dryRun: may(flag("Only say what would happen")),
  },
};

const leavingShape: ObjectShape<views.LeavingView> = {
  kind: "object",
  description: "What becomes of a component",
  fields: {
    volume: must(text("Its volume")),
    componentId: must(text("Its id")),
    what: must(choice("What becomes of it", ["moves", "stays", "stuck"])),
    bytes: must(count("Data that a copy of it holds")),
    host: may(text("Where it would go")),
    device: may(text("The device there")),
  },
};

export const servicePlanShape: ObjectShape<views.ServicePlanView> = {
  kind: "object",
  description: "What happens when a host or a device leaves",
  fields: {
    kind: must(choice("What leaves", ["host", "device"])),
    id: must(text("Its id")),
    host: must(text("The host")),
    mode: must(MODES),
    isDryRun: must(flag("Nothing was done")),
    isReady: must(flag("Nothing has to leave: it may be stopped or taken out")),
    components: must(list("Each of its components", leavingShape)),
    bytesAtMost: must(count("Data that is copied at most")),
    secondsAtMost: may(number("How long that takes at the speed of the last rebuilds")),
    unusable: must(list("Cannot be used while it is away", text("A volume"))),
    atRisk: must(list("Survive no further failure while it is away", text("A volume"))),
    refusal: may(text("Of a dry run: why it would be refused, and what would help")),
  },
};
