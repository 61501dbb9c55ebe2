/** Answers as people read them: one function per operation. With `--json` none of this is used. */
import { byHost, byName, escapeAll, formatSize, shellWord } from "../base/index.ts";
import type {
  ComponentView,
  DeviceView,
  EventView,
  HealthCheckView,
  HealthListView,
  HealthShowView,
  OperationName,
  ResponseOf,
  StatsView,
  TreeView,
  VolumeView,
} from "../host/index.ts";
import type { Colour, Output } from "./output.ts";
import { facts, table } from "./blocks.ts";
import { planLines, resyncLines, resyncRows, settingsLines } from "./render-repair.ts";
import { upgradeLines } from "./render-upgrade.ts";
import { certificateLines } from "./render-certificate.ts";
import { attachmentLines, clientRenderers } from "./render-client.ts";
import { seenTable } from "./render-networks.ts";
import { keyRenderers } from "./render-key.ts";
import { vmRenderers } from "./render-vm.ts";
import { formatDuration, HEALTH_COLOURS, statusLines } from "./render-status.ts";
import { whatIfLines } from "./render-what-if.ts";

const AUDIT_TITLES = ["WHO", "FROM", "OPERATION", "TARGET", "OUTCOME"] as const;

type Renderers = {
  readonly [N in OperationName]: (answer: ResponseOf<N>, output: Output) => string[];
};

const AWAY = "the directory does not answer";

const renderers: Renderers = {
  status: statusLines,
  "health.list": renderHealth,
  "health.show": renderCheck,
  "host.list": ({ hosts }, output) =>
    table(
      output,
      ["NAME", "STATE", "STORAGE", "MANAGEMENT", "FAULT DOMAIN", "ATTACHED>", "API"],
      byName(hosts).map((host) => [
        host.name,
        host.maintenance === undefined ? host.state : `${host.state}, in maintenance`,
        host.storage ?? "-",
        host.management ?? "-",
        host.faultDomain,
        String(host.attachedCount),
        host.apiAddress,
      ]),
    ),
  "host.show": (host) =>
    facts([
      ["name", host.name],
      ["id", host.hostId],
      ["state", host.reason === undefined ? host.state : `${host.state}: ${host.reason}`],
      ["API", host.apiAddress],
      ["storage", networkText(host.storage, host.storageAddress)],
      ["management", host.management ?? "no network of its own"],
      ["lease", host.lease ?? "alone"],
      ["maintenance", host.maintenance ?? "no"],
      ["fault domain", host.faultDomain],
      ["version", host.version ?? "ask that host"],
      ["devices", host.deviceCount === undefined ? "unknown" : String(host.deviceCount)],
      ["attached volumes", String(host.attachedCount)],
    ]),
  "network.show": ({ hosts }, output) => seenTable(hosts, output),
  "device.list": ({ devices }, output) => deviceTable(byHost(devices), output),
  "device.scrub": (scrub, output) => [
    scrub.problemCount === 0
      ? `${output.style("green", "no problems")} on device ${scrub.deviceId}`
      : `${output.style("red", `${scrub.problemCount} problems`)} on device ${scrub.deviceId}`,
    ...scrub.problems.map((problem) => `  ${problem}`),
    ...facts(Object.entries(scrub.report).map(([name, value]) => [spaced(name), String(value)])),
  ],
  "volume.create": (volume) => [
    `created ${volume.name}, ${formatSize(volume.sizeBytes)}`,
    `  next: drystone volume attach ${shellWord(volume.name)}`,
  ],
  "volume.list": ({ volumes, ageMs }, output) => [
    ...(ageMs === undefined ? [] : [`as it was ${formatDuration(ageMs)} ago: ${AWAY}`]),
    ...(volumes.length === 0
      ? ["no volumes yet", "  next: drystone volume create NAME --size 10G"]
      : volumeTable(volumes, output)),
  ],
  "volume.show": renderVolume,
  "volume.resize": (volume) => [`${volume.name} has ${formatSize(volume.sizeBytes)} now`],
  "volume.set": ({ name, change, failuresToTolerate, stripes }) => [
    change === undefined
      ? `${name} has ${policyText({ failuresToTolerate, stripes })}`
      : `${name} is to have ${policyText(change)}`,
    ...(change === undefined ? [] : ["  next: drystone resync list, until nothing is left of it"]),
  ],
  "volume.delete": () => ["deleted"],
  "volume.changes": ({ ranges, nextOffset, digest }, output) => [
    ...table(
      output,
      ["OFFSET>", "LENGTH>", "HOLDS"],
      ranges.map(({ offset, lengthBytes, kind }) => [String(offset), String(lengthBytes), kind]),
    ),
    ...(nextOffset === undefined ? [] : [`  more: --offset ${nextOffset}`]),
    ...(digest === undefined ? [] : [`digest ${digest}`]),
  ],
  "volume.clone": (volume) => [
    `created ${volume.name}, ${formatSize(volume.sizeBytes)}`,
    `  next: drystone volume attach ${shellWord(volume.name)}`,
  ],
  "snapshot.create": (snapshot) => [
    `took ${snapshot.name}`,
    `  next: drystone volume attach ${shellWord(snapshot.name)}, to read it`,
  ],
  "snapshot.list": ({ snapshots }, output) =>
    snapshots.length === 0
      ? ["no snapshots yet", "  next: drystone snapshot create VOLUME@NAME"]
      : table(
          output,
          ["NAME", "SIZE>", "DATA>", "ITS OWN>", "TAKEN", "STATE", "ATTACHED"],
          snapshots.map((one) => [
            one.name,
            formatSize(one.sizeBytes),
            one.logicalBytes === undefined ? "" : formatSize(one.logicalBytes),
            one.uniqueBytes === undefined ? "" : formatSize(one.uniqueBytes),
            new Date(one.createdMs).toISOString().slice(0, 19),
            one.accessible ? "accessible" : (one.reason ?? "inaccessible"),
            one.attachment?.address ?? "",
          ]),
        ),
  "snapshot.delete": () => ["deleted"],
  "snapshot.rollback": (volume) => [`${volume.name} is as it was`],
  "volume.attach": attachmentLines,
  "volume.detach": () => ["detached"],
  "volume.move": attachmentLines,
  "resync.list": ({ resyncs }, output) =>
    resyncs.length === 0
      ? ["nothing is being repaired, moved or caught up"]
      : [...table(output, ...resyncRows(resyncs)), ...resyncLines(resyncs)],
  "settings.show": settingsLines,
  "settings.change": settingsLines,
  "host.maintenance-on": planLines,
  "host.maintenance-off": () => ["back in service"],
  "host.remove": () => ["removed; its certificate is refused from now on"],
  "certificate.show": certificateLines,
  "certificate.renew": certificateLines,
  "certificate.rotate-authority": certificateLines,
  "upgrade.show": upgradeLines,
  "upgrade.finalize": upgradeLines,
  "device.remove": planLines,
  "device.add": ({ deviceId, path }) => [`added ${path} as device ${deviceId.slice(0, 8)}`],
  "device.keep": () => ["it stays"],
  ...vmRenderers,
  "whatif.fail": whatIfLines,
  "access.create": (made) => [
    made.token,
    `  shown this once; ${made.role}, until ${new Date(made.expiresMs).toISOString()}`,
    "  use it with DRYSTONE_TOKEN, or as: Authorization: Bearer TOKEN",
  ],
  "access.list": ({ tokens }, output) =>
    tokens.length === 0
      ? ["no tokens", "  next: drystone access create NAME --role viewer"]
      : table(
          output,
          ["ID", "NAME", "ROLE", "SCOPES", "EXPIRES"],
          tokens.map(({ id, name, role, scopes, expiresMs }) => [
            ...[id, name, role, scopes.length === 0 ? "all" : scopes.join(",")],
            new Date(expiresMs).toISOString(),
          ]),
        ),
  "access.revoke": () => ["taken back; other hosts know within 5 seconds"],
  ...clientRenderers,
  ...keyRenderers,
  "audit.list": ({ entries, silentHosts }, output) => [
    ...table(
      output,
      ["TIME", ...(silentHosts === undefined ? [] : ["HOST"]), ...AUDIT_TITLES],
      entries.map(({ timeMs, host, who, remote, operation, target, outcome }) => [
        new Date(timeMs).toISOString(),
        ...(host === undefined ? [] : [host]),
        ...[who, remote, operation, target, outcome],
      ]),
    ),
    ...silentLines(silentHosts, output),
  ],
  "token.create": ({ token, expiresMs }) => [
    token,
    `  good once, until ${new Date(expiresMs).toISOString()}; on the new host:`,
    "  drystone join ADDRESS:PORT --address ITS-OWN --device PATH --token TOKEN",
  ],
  stats: renderStats,
  events: ({ events, silentHosts }, output) => [
    ...events.map((event) => eventLine(event, output)),
    ...silentLines(silentHosts, output),
  ],
};

export function render<N extends OperationName>(
  name: N,
  answer: ResponseOf<N>,
  output: Output,
): string {
  const lines = renderers[name](printableAnswer(name, answer), output);
  return lines.map((line) => `${line}\n`).join("");
}

/** Texts of an answer come from whoever gave them, and a terminal obeys some. */
function printableAnswer<N extends OperationName>(name: N, answer: ResponseOf<N>): ResponseOf<N> {
  // What a machine prints is for the terminal.
  if (name === "vm.console") return answer;
  // Files of certificates have lines.
  return escapeAll(answer, name === "client.create" ? "\n" : "");
}

/** Of `drystone events --follow`. */
export function followedLine(event: EventView, output: Output): string {
  return eventLine(escapeAll(event), output);
}

function eventLine(event: EventView, output: Output): string {
  const colours: Readonly<Record<EventView["level"], Colour | undefined>> = {
    info: undefined,
    warning: "yellow",
    error: "red",
  };
  const colour = colours[event.level];
  const level = event.level.padEnd(7);
  const time = new Date(event.timeMs).toISOString().replace("T", " ").slice(0, 19);
  const from = event.host === undefined ? "" : `${event.host}: `;
  return `${time}  ${colour === undefined ? level : output.style(colour, level)}  ${from}${event.message}`;
}

function silentLines(hosts: readonly string[] | undefined, output: Output): string[] {
  if (hosts === undefined || hosts.length === 0) return [];
  return [output.style("yellow", `no answer, so nothing of what they know: ${hosts.join(", ")}`)];
}

function networkText(state: string | undefined, address: string | undefined): string {
  return state === undefined || address === undefined ? "alone" : `${state}, ${address}`;
}

function deviceState({ state, isLeaving, scrubShare }: DeviceView): string {
  const leaving = isLeaving === true ? ", leaving" : "";
  const scrub = scrubShare === undefined ? "" : `, scrub ${Math.floor(100 * scrubShare)} %`;
  return `${state}${leaving}${scrub}`;
}

function deviceTable(devices: readonly DeviceView[], output: Output): string[] {
  const rows = devices.map((device) => [
    device.deviceId.slice(0, 8),
    device.host,
    deviceState(device),
    device.adapter,
    formatSize(device.capacityBytes),
    formatSize(device.freeBytes),
    String(device.checksumErrors + device.readErrors),
    device.reason ?? device.path,
  ]);
  return table(
    output,
    ["DEVICE", "HOST", "STATE", "I/O", "SIZE>", "FREE>", "ERRORS>", "PATH"],
    rows,
  );
}

function renderHealth({ health, checks }: HealthListView, output: Output): string[] {
  const found = checks.filter(({ findings }) => findings.length > 0);
  const quiet = checks.length - found.length;
  return [
    `${output.style(HEALTH_COLOURS[health], health)}   ${checks.length} checks, ${quiet} find nothing`,
    ...found.flatMap((check) => [
      "",
      `${check.id} (${check.severity}): ${check.meaning}`,
      ...findingLines(check),
    ]),
  ];
}

function findingLines({ findings }: HealthCheckView): string[] {
  return findings.flatMap(({ message, action, sinceMs }) => [
    `  ${message}${sinceMs === undefined ? "" : ` (since ${new Date(sinceMs).toISOString()})`}`,
    `    do: ${action}`,
  ]);
}

function renderCheck({ check, history }: HealthShowView): string[] {
  const { id, severity, meaning, action, findings } = check;
  return [
    ...facts([
      ["check", id],
      ["severity", severity],
      ["meaning", meaning],
      ["what to do", action],
      ["finds now", findings.length === 0 ? "nothing" : ""],
    ]),
    ...findingLines(check),
    "",
    history.length === 0 ? "no history" : "history, oldest first",
    ...history.map(({ timeMs, change, message }) => {
      return `  ${new Date(timeMs).toISOString()}  ${change.padEnd(7)}  ${message}`;
    }),
  ];
}

/** What a host sees of another one, in a word. */
function volumeTable(volumes: readonly VolumeView[], output: Output): string[] {
  const rows = volumes.map((volume) => [
    volume.name,
    formatSize(volume.sizeBytes),
    volume.logicalBytes === undefined ? "" : formatSize(volume.logicalBytes),
    volume.accessible ? "accessible" : "inaccessible",
    volume.encryption?.domain ?? "-",
    volume.attachment?.host ?? "",
    volume.attachment?.address ?? "not attached",
  ]);
  return table(
    output,
    ["NAME", "SIZE>", "DATA>", "STATE", "KEY DOMAIN", "HOST", "ATTACHED AT"],
    rows,
  );
}

function renderVolume(volume: VolumeView, output: Output): string[] {
  const { attachment } = volume;
  return [
    ...facts([
      ...(volume.ageMs === undefined
        ? []
        : [["as it was", `${formatDuration(volume.ageMs)} ago: ${AWAY}`] as const]),
      ["name", volume.name],
      ["size", `${formatSize(volume.sizeBytes)} (${volume.sizeBytes} bytes)`],
      ...(volume.logicalBytes === undefined
        ? []
        : [["data", formatSize(volume.logicalBytes)] as const]),
      ["object", volume.objectId],
      [
        "accessible",
        volume.accessible
          ? output.style("green", "yes")
          : output.style("red", `no: ${volume.reason ?? ""}`),
      ],
      ["owner", volume.owner === undefined ? "none" : `${volume.owner}, epoch ${volume.epoch}`],
      ["policy", policyText(volume)],
      [
        "encrypted",
        volume.encryption === undefined
          ? "no"
          : `with the key of domain ${volume.encryption.domain}`,
      ],
      ...(volume.change === undefined ? [] : [["is to have", policyText(volume.change)] as const]),
      ["attached", attachment === undefined ? "no" : attachment.uri],
      ...(attachment?.vhostUser === undefined
        ? []
        : [
            [
              "vhost-user",
              `${attachment.vhostUser.socket}, ${attachment.vhostUser.connected ? "a machine is connected" : "no machine is connected"}`,
            ] as const,
          ]),
      ...(attachment?.reason === undefined ? [] : [["not offered", attachment.reason] as const]),
    ]),
    "",
    ...treeLines(volume.tree, volume, 0),
    ...volume.components
      .filter(({ state }) => state === "building" || state === "joining")
      .flatMap((one) => [`being made ${componentText(one)}`, ...whyLines(one, "")]),
  ];
}

function whyLines({ reason }: ComponentView, indent: string): string[] {
  return reason === undefined ? [] : [`${indent}  why: ${reason}`];
}

function policyText({
  failuresToTolerate,
  stripes,
}: Pick<VolumeView, "failuresToTolerate" | "stripes">): string {
  return `${failuresToTolerate} failures to tolerate, ${stripes} stripes`;
}

function treeLines(node: TreeView, volume: VolumeView, depth: number): string[] {
  const indent = "  ".repeat(depth);
  const component = volume.components.find(({ componentId }) => componentId === node.componentId);
  const where = component === undefined ? "" : ` ${componentText(component)}`;
  const why = component === undefined ? [] : whyLines(component, indent);
  const below = (node.children ?? []).flatMap((child) => treeLines(child, volume, depth + 1));
  return [`${indent}${node.kind}${where}`, ...why, ...below];
}

function componentText({ componentId, state, host, device, sequence }: ComponentView): string {
  const place = `${host}/${device.slice(0, 8)}`;
  const newest = sequence === undefined ? "" : `  sequence ${sequence}`;
  return `${componentId.slice(0, 8)}  ${state}  ${place}${newest}`;
}

function memoryText({ memory }: Pick<StatsView, "memory">): string {
  const { planBytes = 0, residentBytes = 0, privateBytes = 0 } = memory;
  const taken = `${formatSize(residentBytes)} resident, ${formatSize(privateBytes)} of it private`;
  return `${taken}; planned are ${formatSize(planBytes)}, all hosts together`;
}

function renderStats(stats: StatsView, output: Output): string[] {
  const counters = (values: Readonly<Record<string, number>>): string =>
    Object.entries(values)
      .map(([name, value]) => counterText(name, value))
      .join(", ");
  return [
    ...facts([
      ["logical", `${formatSize(stats.logicalBytes)} stored, before deduplication`],
      ["unique", `${formatSize(stats.uniqueBytes)} of distinct content`],
      [
        "physical",
        `${formatSize(stats.physicalBytes)} taken of ${formatSize(stats.capacityBytes)}`,
      ],
      ["reclaimable", formatSize(stats.reclaimableBytes)],
      ["dedup ratio", stats.dedupRatio.toFixed(2)],
      ["journal", counters(stats.journal)],
      ["destage", counters(stats.destage)],
      ["shared memory", counters(stats.sharedMemory)],
      ["far cache", counters(stats.farCache)],
      ["memory", memoryText(stats)],
      ["rebuild", counters({ ...stats.rebuild })],
      ["catch-up", counters({ ...stats.catchUp })],
      ["scrub", counters(stats.scrub)],
    ]),
    "",
    ...cacheTable(stats.caches, output),
    ...networkTable(stats, output),
    "",
    ...table(
      output,
      ["VOLUME", "SIZE>", "DATA>"],
      stats.volumes.map((volume) => [
        volume.name,
        formatSize(volume.sizeBytes),
        volume.logicalBytes === undefined ? "" : formatSize(volume.logicalBytes),
      ]),
    ),
  ];
}

function cacheTable(caches: StatsView["caches"], output: Output): string[] {
  const titles = ["CACHE", "DEVICE", "HIT RATIO>", "HITS>", "MISSES>"];
  return table(
    output,
    [...titles, "PROMOTED>", "GHOST HITS>", "SKIPPED>", "EVICTED>"],
    caches.map((cache) => [
      cache.kind,
      cache.deviceId.slice(0, 8),
      cache.hitRatio.toFixed(3),
      ...[cache.hits, cache.misses, cache.promotions, cache.ghostHits].map(String),
      ...[cache.skippedSlots, cache.evictions].map(String),
    ]),
  );
}

function networkTable({ networks, latencyBoundsMs }: StatsView, output: Output): string[] {
  if (networks === undefined || networks.length === 0) return [];
  /** The bound below which that share of the pings came back. */
  const within = (buckets: readonly number[], count: number, share: number): string => {
    let left = count * share;
    const found = buckets.findIndex((one) => (left -= one) <= 0);
    if (count === 0) return "";
    return found < latencyBoundsMs.length
      ? `<= ${latencyBoundsMs[found]} ms`
      : `> ${latencyBoundsMs.at(-1)} ms`;
  };
  const rows = networks.map(({ host, network, buckets, totalMs }) => {
    const count = buckets.reduce((sum, one) => sum + one, 0);
    const mean = count === 0 ? "" : `${(totalMs / count).toFixed(2)} ms`;
    return [
      host,
      network,
      String(count),
      mean,
      ...[0.5, 0.99].map((share) => within(buckets, count, share)),
    ];
  });
  return ["", ...table(output, ["TO HOST", "NETWORK", "PINGS>", "MEAN>", "P50>", "P99>"], rows)];
}

/**
 * A size in words instead of `Bytes` in the name: `bytesNeeded`, `memoryBytes`, `bytesInMemory`.
 */
function counterText(name: string, value: number): string {
  const rest = name.replace(/^bytes|Bytes/, "");
  return rest === name
    ? `${spaced(name)} ${value}`
    : `${spaced(rest).trimStart()} ${formatSize(value)}`;
}

/** `bytesNeeded` as `bytes needed`. */
function spaced(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
