/**
 * The operation table: one row per thing that can be asked of a running host. The HTTP API serves
 * these rows, the command line is built from them, and docs/operating/commands.md lists them, so
 * that the three cannot disagree. Commands that start a process stand in `process-commands.ts`.
 */
import { upgradeOperations } from "../upkeep/upgrade-operations.ts";
import type { UpgradeView } from "../upkeep/upgrade-views.ts";
import { certificateOperations } from "../certificates/certificate-operations.ts";
import type { CertificateView, RotateRequest } from "../certificates/certificate-views.ts";
import { accessOperations } from "./access-operations.ts";
import { clientOperations } from "../volumes/nbd-client-operations.ts";
import { keyOperations } from "../keys/key-operations.ts";
import type * as keys from "../keys/key-views.ts";
import type * as clients from "../volumes/nbd-client-views.ts";
import type { Command } from "../command.ts";
import { healthOperations } from "../health/health-operations.ts";
import { repairOperations } from "../upkeep/repair-operations.ts";
import type * as repairs from "../upkeep/repair-views.ts";
import { snapshotOperations } from "../volumes/snapshot-operations.ts";
import type * as snapshots from "../volumes/snapshot-views.ts";
import type { ObjectShape } from "./shape.ts";
import * as shapes from "./view-shapes.ts";
import { haOperations } from "../machines/ha-operations.ts";
import { vmOperations } from "../machines/vm-operations.ts";
import { volumeOperations } from "../volumes/volume-operations.ts";
import type * as views from "./views.ts";
import { whatIfOperations } from "../upkeep/what-if-operations.ts";
import type { WhatIfView } from "../upkeep/what-if-shapes.ts";

/** What each operation takes and answers. */
export interface OperationTypes {
  status: { request: views.Nothing; response: views.StatusView };
  "health.list": { request: views.Nothing; response: views.HealthListView };
  "health.show": { request: views.HealthShowRequest; response: views.HealthShowView };
  "host.list": { request: views.Nothing; response: views.HostList };
  "host.show": { request: views.NameRequest; response: views.HostView };
  "network.show": { request: views.Nothing; response: views.NetworkView };
  "device.list": { request: views.Nothing; response: views.DeviceList };
  "device.scrub": { request: views.DeviceScrubRequest; response: views.ScrubView };
  "volume.create": { request: views.VolumeCreateRequest; response: views.VolumeView };
  "volume.list": { request: views.Nothing; response: views.VolumeList };
  "volume.show": { request: views.NameRequest; response: views.VolumeView };
  "volume.resize": { request: views.VolumeResizeRequest; response: views.VolumeView };
  "volume.set": { request: repairs.VolumeSetRequest; response: views.VolumeView };
  "volume.delete": { request: views.NameRequest; response: views.Done };
  "volume.attach": { request: views.VolumeAttachRequest; response: views.AttachmentView };
  "volume.detach": { request: views.NameRequest; response: views.Done };
  "volume.move": { request: views.VolumeMoveRequest; response: views.AttachmentView };
  "resync.list": { request: views.Nothing; response: repairs.ResyncList };
  "settings.show": { request: views.Nothing; response: repairs.SettingsView };
  "settings.change": { request: repairs.SettingsChangeRequest; response: repairs.SettingsView };
  "host.maintenance-on": {
    request: repairs.MaintenanceOnRequest;
    response: repairs.ServicePlanView;
  };
  "host.maintenance-off": { request: views.NameRequest; response: views.Done };
  "device.remove": { request: repairs.DeviceRemoveRequest; response: repairs.ServicePlanView };
  "device.add": { request: repairs.DeviceAddRequest; response: views.DeviceView };
  "device.keep": { request: repairs.DeviceRequest; response: views.Done };
  "volume.changes": {
    request: snapshots.VolumeChangesRequest;
    response: snapshots.VolumeChangesView;
  };
  "volume.clone": { request: snapshots.CloneRequest; response: views.VolumeView };
  "snapshot.create": { request: views.NameRequest; response: snapshots.SnapshotView };
  "snapshot.list": { request: snapshots.SnapshotListRequest; response: snapshots.SnapshotList };
  "snapshot.delete": { request: views.NameRequest; response: views.Done };
  "snapshot.rollback": { request: views.NameRequest; response: views.VolumeView };
  "vm.create": { request: views.VmCreateRequest; response: views.VmView };
  "vm.list": { request: views.Nothing; response: views.VmList };
  "vm.show": { request: views.NameRequest; response: views.VmView };
  "vm.start": { request: views.NameRequest; response: views.VmView };
  "vm.stop": { request: views.NameRequest; response: views.VmView };
  "vm.kill": { request: views.NameRequest; response: views.VmView };
  "vm.delete": { request: views.NameRequest; response: views.Done };
  "vm.migrate": { request: views.VmMigrateRequest; response: views.VmView };
  "vm.set": { request: views.VmSetRequest; response: views.VmView };
  "ha.show": { request: views.Nothing; response: views.HaView };
  "ha.set": { request: views.HaSetRequest; response: views.HaView };
  "ha.arm": { request: views.Nothing; response: views.HaView };
  "ha.disarm": { request: views.Nothing; response: views.HaView };
  "whatif.fail": { request: views.NameRequest; response: WhatIfView };
  "vm.protect": { request: views.NameRequest; response: views.VmView };
  "vm.unprotect": { request: views.NameRequest; response: views.VmView };
  "vm.why": { request: views.NameRequest; response: views.VmWhyView };
  "vm.console": { request: views.VmConsoleRequest; response: views.VmConsoleView };
  "vm.type": { request: views.VmTypeRequest; response: views.Done };
  "vm.reset": { request: views.VmHereRequest; response: views.Done };
  "certificate.show": { request: views.Nothing; response: CertificateView };
  "certificate.renew": { request: views.Nothing; response: CertificateView };
  "upgrade.show": { request: views.Nothing; response: UpgradeView };
  "upgrade.finalize": { request: views.Nothing; response: UpgradeView };
  "certificate.rotate-authority": { request: RotateRequest; response: CertificateView };
  "host.remove": { request: views.NameRequest; response: views.Done };
  "access.create": { request: views.AccessCreateRequest; response: views.AccessCreatedView };
  "access.list": { request: views.Nothing; response: views.AccessList };
  "access.revoke": { request: views.AccessRevokeRequest; response: views.Done };
  "client.create": { request: clients.ClientCreateRequest; response: clients.ClientCreatedView };
  "client.list": { request: views.Nothing; response: clients.ClientList };
  "client.delete": { request: clients.ClientDeleteRequest; response: views.Done };
  "key.show": { request: views.Nothing; response: keys.ClusterKeyView };
  "key.rotate": { request: keys.KeyRotateRequest; response: keys.ClusterKeyView };
  "key-domain.list": { request: views.Nothing; response: keys.KeyDomainList };
  "key-domain.destroy": { request: keys.KeyDomainRequest; response: views.Done };
  "audit.list": { request: views.AuditRequest; response: views.AuditList };
  "token.create": { request: views.TokenCreateRequest; response: views.TokenView };
  stats: { request: views.Nothing; response: views.StatsView };
  events: { request: views.EventsRequest; response: views.EventList };
}

export type OperationName = keyof OperationTypes;
export type RequestOf<N extends OperationName> = OperationTypes[N]["request"];
export type ResponseOf<N extends OperationName> = OperationTypes[N]["response"];

export interface Operation<N extends OperationName = OperationName> extends Command {
  readonly name: N;
  readonly method: "GET" | "POST" | "DELETE";
  /** Segments that start with ":" are fields of the request. */
  readonly path: string;
  /** Who answers: any host for the cluster, one host for itself, or the owner of the object. */
  readonly scope: "cluster" | "host" | "owner";
  /** Who may run it. Each role may do what those before it may: viewer, operator, admin. */
  readonly role: "viewer" | "operator" | "admin";
  readonly request: ObjectShape<RequestOf<N>>;
  readonly response: ObjectShape<ResponseOf<N>>;
  /** Error codes beyond those that any request may meet. */
  readonly errors: readonly string[];
  /** Asked on a terminal before it is done. `NAME` stands for the first positional. */
  readonly danger?: string;
}

export type OperationTable = { readonly [N in OperationName]: Operation<N> };

export const operations: OperationTable = {
  status: {
    name: "status",
    words: ["status"],
    summary: "One screen: health, reasons, what to do, hosts, capacity, attached volumes",
    examples: [{ line: "drystone status", why: "is everything all right?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/status",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.statusShape,
    errors: [],
  },
  ...healthOperations,
  "host.list": {
    name: "host.list",
    words: ["host", "list"],
    summary: "List the hosts of the cluster",
    examples: [{ line: "drystone host list", why: "every host on a line" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/hosts",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.hostListShape,
    errors: [],
  },
  "host.show": {
    name: "host.show",
    words: ["host", "show"],
    summary: "Show one host",
    examples: [{ line: "drystone host show h1", why: "the host named h1" }],
    positionals: ["name"],
    options: [],
    method: "GET",
    path: "/v1/hosts/:name",
    scope: "cluster",
    role: "viewer",
    request: shapes.nameRequestShape,
    response: shapes.hostViewShape,
    errors: ["host-unknown"],
  },
  "network.show": {
    name: "network.show",
    words: ["network", "show"],
    summary: "Show which host reaches which on both networks, as each of them sees it",
    examples: [{ line: "drystone network show", why: "is it a cable, a switch or a host?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/networks",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.networkShape,
    errors: [],
  },
  "device.list": {
    name: "device.list",
    words: ["device", "list"],
    summary: "List the devices, their space and their faults",
    examples: [{ line: "drystone device list", why: "how full is each device?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/devices",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.deviceListShape,
    errors: [],
  },
  "device.scrub": {
    name: "device.scrub",
    words: ["device", "scrub"],
    summary: "Read a device through: checksums, reference counts, leaked space",
    examples: [{ line: "drystone device scrub 7f3a", why: "the device whose id begins with 7f3a" }],
    positionals: ["device"],
    options: [],
    method: "POST",
    path: "/v1/devices/:device/scrub",
    scope: "host",
    role: "operator",
    request: shapes.deviceScrubShape,
    response: shapes.scrubShape,
    errors: ["device-unknown", "device-failed"],
  },
  ...volumeOperations,
  ...snapshotOperations,
  ...repairOperations,
  ...vmOperations,
  ...haOperations,
  ...certificateOperations,
  ...whatIfOperations,
  ...upgradeOperations,
  ...accessOperations,
  ...clientOperations,
  ...keyOperations,
  "token.create": {
    name: "token.create",
    words: ["token", "create"],
    summary: "Make a token with which one host may join the cluster",
    examples: [
      { line: "drystone token create", why: "good once, for 30 minutes" },
      { line: "drystone token create --ttl 5", why: "for 5 minutes" },
    ],
    positionals: [],
    options: [
      {
        name: "ttl",
        field: "ttlMinutes",
        kind: "count",
        argument: "MINUTES",
        summary: "How long it is good (30)",
      },
    ],
    method: "POST",
    path: "/v1/tokens",
    scope: "host",
    role: "admin",
    request: shapes.tokenCreateRequestShape,
    response: shapes.tokenViewShape,
    errors: ["not-supported", "authority-elsewhere", "too-many-tokens"],
  },
  stats: {
    name: "stats",
    words: ["stats"],
    summary: "Logical, unique and physical bytes, dedup ratio, cache, journal, traffic",
    examples: [
      { line: "drystone stats", why: "what is stored, and how much it saves" },
      { line: "drystone stats --json", why: "every counter" },
    ],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/stats",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: shapes.statsShape,
    errors: [],
  },
  events: {
    name: "events",
    words: ["events"],
    summary: "What happened, oldest first",
    examples: [
      { line: "drystone events", why: "the newest 100" },
      { line: "drystone events --all-hosts", why: "what happened anywhere" },
      { line: "drystone events --follow", why: "and what happens from now on" },
      { line: "drystone events --follow --json", why: "one JSON object a line" },
    ],
    positionals: [],
    options: [
      {
        name: "follow",
        field: "follow",
        kind: "flag",
        summary: "Keep printing new events until Ctrl-C",
      },
      {
        name: "after",
        field: "after",
        kind: "count",
        argument: "SEQUENCE",
        summary: "Only newer ones",
      },
      {
        name: "limit",
        field: "limit",
        kind: "count",
        argument: "N",
        summary: "At most so many (100)",
      },
      {
        name: "all-hosts",
        field: "allHosts",
        kind: "flag",
        summary: "Of every host that answers, by time",
      },
    ],
    method: "GET",
    path: "/v1/events",
    scope: "cluster",
    role: "viewer",
    request: shapes.eventsShape,
    response: shapes.eventListShape,
    errors: [],
  },
};

export const operationNames = Object.keys(operations) as readonly OperationName[];

/** The row, as a type that all rows share. */
export function operationRow(name: OperationName): Operation {
  return operations[name];
}
