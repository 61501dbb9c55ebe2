/** The rows of the operation table that are about repairs, and about what leaves the cluster. */
import type { OperationTable } from "../api/operations.ts";
import * as shapes from "./repair-shapes.ts";
import {
  deviceViewShape,
  doneShape,
  nameRequestShape,
  nothingShape,
  volumeViewShape,
} from "../api/view-shapes.ts";

type RepairOperation =
  | "volume.set"
  | "resync.list"
  | "settings.show"
  | "settings.change"
  | "host.maintenance-on"
  | "host.maintenance-off"
  | "device.remove"
  | "device.add"
  | "device.keep";

const DRY_RUN = {
  name: "dry-run",
  field: "dryRun",
  kind: "flag",
  summary: "Only say what would happen: bytes, time, what is at risk",
} as const;
const PLAN_ERRORS = ["evacuation-impossible", "evacuation-too-large"];

export const repairOperations: Pick<OperationTable, RepairOperation> = {
  "volume.set": {
    name: "volume.set",
    words: ["volume", "set"],
    summary: "Give a volume another policy while it is in use",
    examples: [
      { line: "drystone volume set web1 --failures-to-tolerate 2", why: "a third copy" },
      { line: "drystone volume set web1 --stripes 2", why: "each copy on two devices" },
    ],
    positionals: ["name"],
    needsAnOption: true,
    options: [
      {
        name: "failures-to-tolerate",
        field: "failuresToTolerate",
        kind: "count",
        argument: "N",
        summary: "Host failures that it is to survive",
      },
      {
        name: "stripes",
        field: "stripes",
        kind: "count",
        argument: "N",
        summary: "Devices that each copy is to be spread over",
      },
      {
        name: "encrypted",
        field: "encrypted",
        kind: "flag",
        summary: "Refused unless it is encrypted already; the answer says what to do instead",
      },
    ],
    method: "POST",
    path: "/v1/volumes/:name/policy",
    scope: "cluster",
    role: "operator",
    request: shapes.volumeSetShape,
    response: volumeViewShape,
    errors: [
      "volume-not-found",
      "policy-unsatisfiable",
      "policy-no-room",
      "snapshot-policy-fixed",
      "encryption-fixed",
    ],
  },
  "resync.list": {
    name: "resync.list",
    words: ["resync", "list"],
    summary: "List what is being repaired, moved or caught up, and how far it has come",
    examples: [{ line: "drystone resync list", why: "how long will it take?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/resyncs",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.resyncListShape,
    errors: [],
  },
  "settings.show": {
    name: "settings.show",
    words: ["settings", "show"],
    summary: "Show what holds for the whole cluster",
    examples: [{ line: "drystone settings show", why: "when are repairs begun?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/settings",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.settingsShape,
    errors: [],
  },
  "settings.change": {
    name: "settings.change",
    words: ["settings", "change"],
    summary: "Change what holds for the whole cluster",
    examples: [
      { line: "drystone settings change --repair-delay 1800", why: "repair after half an hour" },
    ],
    positionals: [],
    needsAnOption: true,
    options: [
      {
        name: "repair-delay",
        field: "repairDelaySeconds",
        kind: "count",
        argument: "SECONDS",
        summary: "How long a host or device that is away is waited for (3600)",
      },
      {
        name: "rebuilds-at-once",
        field: "rebuildsAtOnce",
        kind: "count",
        argument: "N",
        summary: "Components that are made anew at a time (4)",
      },
      {
        name: "rebuilds-per-device",
        field: "rebuildsPerDevice",
        kind: "count",
        argument: "N",
        summary: "Of those, that one device takes part in (2)",
      },
      {
        name: "fingerprints",
        field: "fingerprints",
        kind: "text",
        argument: "ON-OR-OFF",
        summary: "off: what is copied is copied whole, for comparison",
      },
      {
        name: "scrub-days",
        field: "scrubDays",
        kind: "count",
        argument: "DAYS",
        summary: "Within so many days everything that is stored is read once (14; 0: never)",
      },
      {
        name: "compare-hours",
        field: "compareHours",
        kind: "count",
        argument: "HOURS",
        summary: "How often the copies of each volume are compared (24; 0: never)",
      },
    ],
    method: "POST",
    path: "/v1/settings",
    scope: "cluster",
    role: "operator",
    request: shapes.settingsChangeShape,
    response: shapes.settingsShape,
    errors: ["object-contended"],
  },
  "host.maintenance-on": {
    name: "host.maintenance-on",
    words: ["host", "maintenance", "on"],
    summary: "Prepare a host for service: what has to leave it does, and nothing new comes",
    examples: [
      { line: "drystone host maintenance on h2 --dry-run", why: "what would happen?" },
      { line: "drystone host maintenance on h2", why: "no volume becomes unusable" },
      { line: "drystone host maintenance on h2 --mode evacuate", why: "everything leaves" },
    ],
    positionals: ["name"],
    options: [
      {
        name: "mode",
        field: "mode",
        kind: "text",
        argument: "MODE",
        summary: "evacuate, ensure-accessibility (the default) or none",
      },
      DRY_RUN,
    ],
    method: "POST",
    path: "/v1/hosts/:name/maintenance-on",
    scope: "cluster",
    role: "operator",
    request: shapes.maintenanceOnShape,
    response: shapes.servicePlanShape,
    errors: ["host-unknown", ...PLAN_ERRORS],
  },
  "host.maintenance-off": {
    name: "host.maintenance-off",
    words: ["host", "maintenance", "off"],
    summary: "Put a host back into service; what has not left it stays",
    examples: [{ line: "drystone host maintenance off h2", why: "it takes part again" }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/hosts/:name/maintenance-off",
    scope: "cluster",
    role: "operator",
    request: nameRequestShape,
    response: doneShape,
    errors: ["host-unknown"],
  },
  "device.remove": {
    name: "device.remove",
    words: ["device", "remove"],
    summary: "Move everything off a device, so that it can be taken out",
    examples: [
      { line: "drystone device remove 7f3a --dry-run", why: "where would it all go?" },
      { line: "drystone device remove 7f3a", why: "drystone resync list shows how far it is" },
    ],
    positionals: ["device"],
    options: [DRY_RUN],
    method: "POST",
    path: "/v1/devices/:device/remove",
    scope: "cluster",
    role: "operator",
    request: shapes.deviceRemoveShape,
    response: shapes.servicePlanShape,
    errors: ["device-unknown", ...PLAN_ERRORS],
  },
  "device.add": {
    name: "device.add",
    words: ["device", "add"],
    summary: "Give an empty device to the host that is asked, while it runs",
    examples: [
      { line: "drystone device add /dev/sdb", why: "a whole disk" },
      { line: "drystone device add /srv/two --size 100G", why: "a directory, and how much of it" },
    ],
    positionals: ["path"],
    options: [
      {
        name: "size",
        field: "sizeBytes",
        kind: "size",
        argument: "SIZE",
        summary: "For a directory; without it what its file system has free",
      },
    ],
    method: "POST",
    path: "/v1/devices",
    scope: "host",
    role: "operator",
    request: shapes.deviceAddShape,
    response: deviceViewShape,
    errors: [
      ...["device-known", "device-foreign", "device-missing", "device-in-use"],
      ...["device-invalid", "device-incomplete"],
    ],
  },
  "device.keep": {
    name: "device.keep",
    words: ["device", "keep"],
    summary: "Keep a device that was to be removed; what has not left it stays",
    examples: [{ line: "drystone device keep 7f3a", why: "it takes part again" }],
    positionals: ["device"],
    options: [],
    method: "POST",
    path: "/v1/devices/:device/keep",
    scope: "cluster",
    role: "operator",
    request: shapes.deviceRequestShape,
    response: doneShape,
    errors: ["device-unknown"],
  },
};
