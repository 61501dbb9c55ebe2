import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import type { Clock, MetadataStore } from "../../ports/index.ts";
import { EventRing } from "../api/event-ring.ts";
import { healthChecks, judgeHealth, raisedChecks } from "./health.ts";
import type { RotationView } from "../certificates/certificate-views.ts";
import type { RaisedCheck } from "./health.ts";
import type { HealthFacts, MemoryFacts } from "./health-check.ts";
import { HealthWatch } from "./health-watch.ts";
import type { ResyncView } from "../upkeep/repair-views.ts";
import type { AttachmentView, DeviceView, HostView, VmView, VolumeView } from "../api/views.ts";

const GIB: number = 2 ** 30;
const NOW_MS = 1_800_000_000_000;

function host(name: string, extra: Partial<HostView> = {}): HostView {
  const networks = { storage: "up", management: "up", lease: "held" } as const;
  const facts = { apiAddress: "10.0.0.1:7400", faultDomain: name, attachedCount: 0 };
  return { name, hostId: name, state: "up", ...networks, ...facts, ...extra };
}

const rotation: RotationView = {
  ...{ step: "trust", isHeld: false, startedMs: NOW_MS, keyHost: "h1", fingerprint: "a" },
  waitsFor: [{ host: "h1" }],
};

function device(on: string, extra: Partial<DeviceView> = {}): DeviceView {
  return {
    ...{ deviceId: `${on}-d`, host: on, path: "/dev/sdb", state: "online", adapter: "io_uring" },
    ...{ capacityBytes: 100 * GIB, freeBytes: 90 * GIB, logicalBytes: 0, uniqueBytes: 0 },
    ...{ physicalBytes: 0, reclaimableBytes: 0, checksumErrors: 0, readErrors: 0 },
    ...{ damagedBlocks: 0, componentCount: 0 },
    ...extra,
  };
}

function volume(states: readonly string[], extra: Partial<VolumeView> = {}): VolumeView {
  const components = states.map((state, index) => ({
    ...{ componentId: `c${index}`, host: `h${index + 1}`, device: "d", state },
  }));
  return {
    ...{ name: "web1", objectId: "o", sizeBytes: GIB, failuresToTolerate: 1, stripes: 1 },
    ...{ accessible: true, epoch: 1, tree: { kind: "mirror" }, components },
    ...extra,
  };
}

function vm(extra: Partial<VmView>): VmView {
  const facts = { cpuCount: 1, memoryBytes: GIB, volumes: ["web1"], isProtected: true, epoch: 1 };
  return {
    name: "vm1",
    state: "running",
    ...facts,
    protection: "protected",
    failureCount: 0,
    priority: "medium",
    isolation: "stand-still",
    storageLoss: "move",
    networks: [],
    history: [],
    ...extra,
  };
}

/** Four hosts with a device each, and nothing wrong. */
const resync: ResyncView = {
  volume: "v1",
  componentId: "c1",
  kind: "rebuild",
  state: "waiting",
  host: "h1",
  device: "d1",
  bytesNeeded: 0,
  bytesSent: 0,
  bytesSkipped: 0,
};

const well: HealthFacts = {
  hostId: "h1",
  hosts: [host("h1"), host("h2"), host("h3"), host("h4")],
  devices: [device("h1"), device("h2"), device("h3"), device("h4")],
  volumes: [volume(["active", "active", "active"])],
  attachments: [],
  faults: [],
  resyncs: [],
  vms: [],
  stats: undefined,
  directory: {
    members: ["h1", "h2", "h3"].map((name) => ({ host: name, address: name, state: "well" })),
  },
  machine: {
    ...{ nowMs: NOW_MS, stateFreeBytes: 50 * GIB, stateSizeBytes: 100 * GIB },
    memory: { planBytes: GIB, limitBytes: 8 * GIB, configuredBytes: GIB / 2, usedBytes: GIB / 2 },
    certificateEndsMs: NOW_MS + 400 * 24 * 3600 * 1000,
    keyReason: undefined,
  },
};

function raised(facts: Partial<HealthFacts>): readonly string[] {
  return raisedChecks({ ...well, ...facts }).map(({ check }) => check.id);
}

function withMemory(memory: Partial<MemoryFacts>): Partial<HealthFacts> {
  const machine = well.machine!;
  return { machine: { ...machine, memory: { ...machine.memory, ...memory } } };
}

function event(kind: string): HealthFacts["faults"][number] {
  const details = { deviceId: "h1-d" };
  return { sequence: 1, timeMs: 1, level: "warning", kind, message: "it is damaged", details };
}

const attachment: AttachmentView = {
  ...{ volume: "web1", host: "h1", kind: "nbd", address: "/run/web1.sock", uri: "nbd:" },
  ...{ readOnly: false, tls: false, state: "online" },
};

function ioStats(slow: number, faults: number): HealthFacts["stats"] {
  const count = { count: 1000, bytes: 0, totalMs: 0, faults, buckets: [1000 - slow, 0, slow] };
  const none = { count: 0, bytes: 0, totalMs: 0, faults: 0, buckets: [0, 0, 0] };
  const volumes = [{ name: "web1", sizeBytes: GIB, io: { reads: count, writes: none } }];
  return { volumes, latencyBoundsMs: [1, 1000] } as unknown as HealthFacts["stats"];
}

/** What is wrong, and the checks that find it. */
const troubles: readonly (readonly [Partial<HealthFacts>, readonly string[]])[] = [
  [{ hosts: [...well.hosts.slice(0, 3), host("h4", { state: "down" })] }, ["host-down"]],
  [
    { hosts: [...well.hosts.slice(0, 3), host("h4", { state: "storage-unreachable" })] },
    ["storage-unreachable"],
  ],
  [
    { hosts: [...well.hosts.slice(0, 3), host("h4", { state: "management-unreachable" })] },
    ["management-unreachable"],
  ],
  [
    {
      hosts: [
        host("h1"),
        ...["h2", "h3", "h4"].map((n) => host(n, { state: "storage-unreachable" })),
      ],
    },
    ["storage-isolated"],
  ],
  [
    {
      hosts: [
        host("h1"),
        ...["h2", "h3", "h4"].map((n) => host(n, { state: "management-unreachable" })),
      ],
    },
    ["management-isolated"],
  ],
  [{ hosts: [...well.hosts.slice(0, 3), host("h4", { lease: "lost" })] }, ["host-without-lease"]],
  [
    { hosts: [host("h1", { lease: "unknown" }), ...well.hosts.slice(1)] },
    ["directory-unavailable"],
  ],
  [{ hosts: [host("h1", { lease: "lost" }), ...well.hosts.slice(1)] }, ["own-lease-lost"]],
  [
    { hosts: [...well.hosts.slice(0, 3), host("h4", { maintenance: "evacuate" })] },
    ["host-in-maintenance"],
  ],
  [{ hosts: well.hosts.map(({ management: _management, ...rest }) => rest) }, ["one-network"]],
  [
    { hosts: well.hosts.slice(0, 2), devices: well.devices.slice(0, 2), volumes: [] },
    ["two-hosts"],
  ],
  [
    {
      directory: {
        members: [
          ...well.directory!.members.slice(1),
          { host: "h1", address: "", state: "silent" },
        ],
      },
    },
    ["directory-member-away"],
  ],
  [{ directory: { members: well.directory!.members.slice(1) } }, ["directory-members-few"]],
  [{ machine: { ...well.machine!, stateFreeBytes: 1 << 20 } }, ["state-almost-full"]],
  [withMemory({ planBytes: 8 * GIB + 1 }), ["memory-short"]],
  [withMemory({ configuredBytes: GIB }), ["memory-unused"]],
  [{ machine: { ...well.machine!, certificateEndsMs: NOW_MS + 1000 } }, ["certificate-ending"]],
  [
    {
      hosts: well.hosts.map((one, index) => ({ ...one, clusterVersion: index === 0 ? 1 : 2 })),
      clusterVersion: 1,
    },
    ["versions-mixed"],
  ],
  [
    { hosts: well.hosts.map((one) => ({ ...one, clusterVersion: 2 })), clusterVersion: 1 },
    ["upgrade-not-finalized"],
  ],
  [{ rotation: { ...rotation, waitsFor: [{ host: "h1", reason: "no" }] } }, ["authority-waits"]],
  [{ machine: { ...well.machine!, keyReason: "there is no key" } }, []],
  [
    {
      machine: { ...well.machine!, keyReason: "there is no key" },
      volumes: well.volumes.map((one) => ({
        ...one,
        encryption: { domain: "default", domainId: "k1" },
      })),
    },
    ["cluster-key-away"],
  ],
  [{ devices: well.devices.slice(1) }, ["no-device", "devices-uneven"]],
  [{ devices: [device("h1", { state: "failed" }), ...well.devices.slice(1)] }, ["device-failed"]],
  [{ devices: [device("h1", { damagedBlocks: 2 }), ...well.devices.slice(1)] }, ["damaged-blocks"]],
  [{ devices: [device("h1", { readErrors: 2 }), ...well.devices.slice(1)] }, ["read-errors"]],
  [
    { devices: [device("h1", { checksumErrors: 2 }), ...well.devices.slice(1)] },
    ["checksum-errors"],
  ],
  [{ devices: [device("h1", { freeBytes: GIB }), ...well.devices.slice(1)] }, ["almost-full"]],
  [
    { devices: [device("h1", { freeBytes: 15 * GIB }), ...well.devices.slice(1)] },
    ["device-filling"],
  ],
  [
    { devices: [device("h1", { reclaimableBytes: 30 * GIB }), ...well.devices.slice(1)] },
    ["reclaim-behind"],
  ],
  [{ devices: [device("h1", { adapter: "node-fs" }), ...well.devices.slice(1)] }, ["slow-adapter"]],
  [
    { devices: ["h1", "h2", "h3", "h4"].map((on) => device(on, { freeBytes: 21 * GIB })) },
    ["no-spare-room"],
  ],
  [{ devices: [device("h1", { isLeaving: true }), ...well.devices.slice(1)] }, ["device-leaving"]],
  [{ faults: [event("block-damaged")] }, ["block-damaged"]],
  [{ faults: [event("metadata-damaged")] }, ["metadata-damaged"]],
  [{ faults: [event("journal-repaired")] }, ["journal-repaired"]],
  [{ faults: [event("superblock-repaired")] }, ["superblock-repaired"]],
  [{ volumes: [volume(["active"], { accessible: false })] }, ["object-inaccessible"]],
  [{ volumes: [volume(["active", "active", "absent"])] }, ["volume-degraded", "volume-on-edge"]],
  [{ volumes: [volume(["active"], { failuresToTolerate: 0 })] }, ["volume-unprotected"]],
  [{ hosts: well.hosts.slice(0, 3), devices: well.devices.slice(0, 3) }, ["few-fault-domains"]],
  [{ attachments: [{ ...attachment, state: "failed" }] }, ["attach-failed"]],
  [{ attachments: [{ ...attachment, state: "holding" }] }, ["volume-held"]],
  [{ attachments: [{ ...attachment, readOnly: true }] }, ["read-only-attachment"]],
  [{ stats: ioStats(0, 1) }, ["requests-failed"]],
  [{ stats: ioStats(20, 0) }, ["requests-slow"]],
  [{ resyncs: [{ ...resync, state: "blocked" }] }, ["repair-blocked"]],
  [{ vms: [vm({ state: "waiting" })] }, ["vm-waiting"]],
  [{ unreadableVms: [{ name: "vm1", reason: "it is not JSON" }] }, ["vm-unreadable"]],
  [{ vms: [vm({ isProtected: false })] }, ["vm-unprotected"]],
  [
    {
      vms: [
        vm({
          history: [1, 2, 3].map((minutes) => ({
            ...{ timeMs: NOW_MS - minutes * 60_000, host: "h1", what: "started", because: "-" },
          })),
        }),
      ],
    },
    ["vm-restarted-often"],
  ],
  [
    { volumes: [volume(["active"], { failuresToTolerate: 0 })], vms: [vm({})] },
    ["volume-unprotected", "vm-disk-unprotected"],
  ],
];

test("nothing is found where nothing is wrong", () => {
  assert.deepEqual(raised({}), []);
  assert.deepEqual(judgeHealth([]), { health: "healthy", reasons: [] });
});

test("each trouble is found by its checks and by no others", () => {
  const found = new Set<string>();
  for (const [facts, ids] of troubles) {
    assert.deepEqual(raised(facts), ids);
    for (const id of ids) found.add(id);
  }
  const ids = healthChecks.map(({ id }) => id);
  assert.deepEqual(
    ids.filter((id) => !found.has(id)),
    [],
    "never tried",
  );
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.length >= 30, `${ids.length} checks`);
});

test("what to do about a volume that is not offered goes by why it is not", () => {
  const failed = { attachments: [{ ...attachment, state: "failed" as const }] };
  const actionOf = (facts: Partial<HealthFacts>): string | undefined =>
    raisedChecks({ ...well, ...failed, ...facts })
      .find(({ check }) => check.id === "attach-failed")
      ?.findings.find(({ subject }) => subject === "web1")?.action;
  assert.match(actionOf({}) ?? "", /^free the address/);
  const hosts = [host("h1", { state: "down" }), ...well.hosts.slice(1)];
  assert.match(actionOf({ hosts }) ?? "", /^start host h1 again/);
  const vms = [vm({ volumes: ["web1"] })];
  assert.match(actionOf({ hosts, vms }) ?? "", /drystone why vm vm1$/);
});

test("what was asked for is no restart", () => {
  const decision = { timeMs: NOW_MS - 1000, host: "h1", because: "-" };
  const said = (whats: readonly string[]): readonly string[] =>
    raised({ vms: [vm({ history: whats.map((what) => ({ ...decision, what })) })] });
  assert.deepEqual(said(["to be started", "started", "started"]), []);
  assert.deepEqual(said(["started", "placed on h1", "started", "started"]), ["vm-restarted-often"]);
});

test("notes do not change the word; a failed check makes it failed", () => {
  const of = (facts: Partial<HealthFacts>): string =>
    judgeHealth(raisedChecks({ ...well, ...facts })).health;
  assert.equal(of({ vms: [vm({ isProtected: false })] }), "healthy");
  assert.equal(of({ vms: [vm({ state: "waiting" })] }), "degraded");
  assert.equal(of({ volumes: [volume([], { accessible: false })] }), "failed");
});

class ManualClock implements Clock {
  now = 0;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return NOW_MS + this.now;
  }

  after(delayMs: number, callback: () => void): { cancel: () => void } {
    const timer = { at: this.now + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const timer of this.#timers.filter(({ at }) => at <= this.now)) {
      this.#timers = this.#timers.filter((one) => one !== timer);
      timer.callback();
    }
    // The look behind the timer is a promise or two.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function memoryRing(clock: Clock): EventRing {
  const store: Partial<MetadataStore> = { scan: () => {}, commit: async () => {} };
  return new EventRing(store as MetadataStore, clock, (error) => assert.fail(String(error)));
}

test("the history tells when a check was raised and cleared, once each", async () => {
  const clock = new ManualClock();
  const events = memoryRing(clock);
  let facts = well;
  let looks = 0;
  const look = async (): Promise<readonly RaisedCheck[]> => {
    looks++;
    return raisedChecks(facts);
  };
  const watch = new HealthWatch({
    events,
    clock,
    look,
    onBug: (error) => assert.fail(String(error)),
  });
  watch.start();
  await clock.pass(2000);
  facts = { ...well, hosts: [...well.hosts.slice(0, 3), host("h4", { state: "down" })] };
  events.add({ level: "info", kind: "link-down", message: "h4", details: {} });
  await clock.pass(2000);
  await clock.pass(60_000);
  const since = watch.show("host-down", raisedChecks(facts)).check.findings[0]?.sinceMs;
  assert.equal(since, NOW_MS + 4000);
  facts = well;
  await clock.pass(60_000);

  const { check, history } = watch.show("host-down", raisedChecks(well));
  assert.deepEqual(check.findings, []);
  assert.deepEqual(
    history.map(({ change, subject, timeMs }) => [change, subject, timeMs - NOW_MS]),
    [
      ["raised", "h4", 4000],
      ["cleared", "h4", 124_000],
    ],
  );
  assert.equal(looks, 4, "its own events make it look no more often");
  assert.throws(() => watch.show("host-dwn", []), { code: "check-unknown" });
  watch.stop();
  assert.equal(clock.timerCount, 0);
});

test("what was raised when the host ended is not raised again at its next start", async () => {
  const clock = new ManualClock();
  const events = memoryRing(clock);
  const facts = { ...well, vms: [vm({ state: "waiting" })] };
  for (let start = 0; start < 2; start++) {
    const look = async (): Promise<readonly RaisedCheck[]> => raisedChecks(facts);
    const watch = new HealthWatch({
      events,
      clock,
      look,
      onBug: (error) => assert.fail(String(error)),
    });
    watch.start();
    await clock.pass(2000);
    watch.stop();
  }
  const raisedKinds = events.list(0, 100).filter(({ kind }) => kind === "health-raised");
  assert.equal(raisedKinds.length, 1);
});

test("many findings at once are few events, which a restart reads back", async () => {
  const clock = new ManualClock();
  const events = memoryRing(clock);
  const count = 300;
  const degraded = Array.from({ length: count }, (_, index) =>
    volume(["active", "active", "absent"], { name: `v${index}` }),
  );
  let facts: HealthFacts = { ...well, volumes: degraded };
  const watched = async (): Promise<HealthWatch> => {
    const look = async (): Promise<readonly RaisedCheck[]> => raisedChecks(facts);
    const onBug = (error: unknown): void => assert.fail(String(error));
    const watch = new HealthWatch({ events, clock, look, onBug });
    watch.start();
    await clock.pass(2000);
    watch.stop();
    return watch;
  };
  const first = await watched();
  const history = first.show("volume-degraded", raisedChecks(facts)).history;
  assert.deepEqual(
    history.map(({ change, subject }) => `${change} ${subject}`),
    ["raised v0, and 199 more", "raised v200, and 99 more"],
  );
  assert.match(history[0]?.message ?? "", /^volume-degraded: volume v0 has .*, and 199 more$/);
  const told = events.list(0, Infinity).length;
  const again = await watched();
  assert.equal(events.list(0, Infinity).length, told, "nothing is raised again");
  const { check } = again.show("volume-degraded", raisedChecks(facts));
  assert.ok(check.findings.every(({ sinceMs }) => sinceMs !== undefined));
  facts = well;
  const healed = await watched();
  assert.ok(events.list(0, Infinity).length < told + 10);
  const { history: all } = healed.show("volume-degraded", raisedChecks(facts));
  assert.deepEqual(
    all.slice(2).map(({ change, subject }) => `${change} ${subject}`),
    ["cleared v0, and 199 more", "cleared v200, and 99 more"],
  );
});
