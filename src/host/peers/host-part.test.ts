import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { hostPartOf } from "./host-part.ts";
import type { HostPart } from "./host-part.ts";
import { PeerAnswers, readAnswer, readAnswers } from "./peer-answers.ts";
import { volumeChangesShape } from "../volumes/snapshot-shapes.ts";
import { seenHostShape } from "../api/view-shapes.ts";

const TRAFFIC = { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0 };
const COUNTS = { count: 1, bytes: 2, totalMs: 3, faults: 0, buckets: [1] };
const STATE = { kind: "active" } as const;
const COMPONENT = {
  ...{ componentId: "c", hostId: "h", deviceId: "d", state: STATE, sequence: 4 },
  isCatchingUp: false,
};
const OWNER = {
  ...{ objectId: "o", name: "v", sizeBytes: 4096, epoch: 1, owner: "h", accessible: true },
  reason: undefined,
  tree: { kind: "component", componentId: "c", weight: 1 },
  components: [COMPONENT],
};
const DEVICE = {
  ...{ deviceId: "d", host: "h1", path: "/d", state: "online", adapter: "io_uring" },
  ...{ capacityBytes: 1, freeBytes: 1, logicalBytes: 1, uniqueBytes: 1, physicalBytes: 1 },
  ...{ reclaimableBytes: 0, checksumErrors: 0, readErrors: 0, damagedBlocks: 0 },
  componentCount: 1,
} as const;
const STATS = {
  ...{ logicalBytes: 1, uniqueBytes: 1, physicalBytes: 1, capacityBytes: 1, freeBytes: 1 },
  ...{ reclaimableBytes: 0, dedupRatio: 1, cache: { hits: 1 }, caches: [], journal: {} },
  ...{ destage: {}, sharedMemory: {}, farCache: {}, memory: {}, scrub: {}, volumes: [] },
  ...{ rebuild: TRAFFIC, catchUp: TRAFFIC, latencyBoundsMs: [1] },
};
const OWN = {
  owners: [OWNER],
  ...{ logicalBytes: [["o", 1]], componentBytes: [["c", 1]], sequences: [["c", 4]] },
  stats: STATS,
  devices: [DEVICE],
  io: [["o", { reads: COUNTS, writes: COUNTS }]],
} as unknown as HostPart;

const isInvalid = (error: unknown): boolean =>
  error instanceof CodedError && error.code === "message-invalid";

test("what a host tells of its own is taken as it comes over the wire", () => {
  const said: unknown = JSON.parse(JSON.stringify(OWN));
  assert.deepEqual(hostPartOf(said, OWN), said);
  assert.deepEqual(hostPartOf({}, OWN).devices, [], "an older one tells less");
  const { damagedBlocks: _older, ...device } = DEVICE;
  const others = [
    { ...DEVICE, state: "resting", isNewer: true },
    { ...DEVICE, scrubShare: null },
  ];
  assert.equal(hostPartOf({ ...OWN, devices: [device, ...others] }, OWN).devices.length, 3);
});

test("whatever is wrong in what a host tells of its own is found before anybody looks at it", () => {
  const bad: Readonly<Record<string, readonly unknown[]>> = {
    devices: [5, "x", [null], [{}], [{ ...DEVICE, deviceId: 7 }], [{ ...DEVICE, freeBytes: "1" }]],
    owners: [
      ...[{}, [null], [{ ...OWNER, components: null }], [{ ...OWNER, components: [null] }]],
      ...[[{ ...OWNER, reason: {} }], [{ ...OWNER, components: [{ ...COMPONENT, state: 1 }] }]],
      [{ ...OWNER, components: [{ ...COMPONENT, resync: [] }] }],
      [{ ...OWNER, components: [{ ...COMPONENT, failedAttempt: 3 }] }],
      [{ ...OWNER, components: [{ ...COMPONENT, resync: { share: "all" } }] }],
    ],
    logicalBytes: [7, [null], [["o"]], [["o", "1"]], [[1, 1]]],
    componentBytes: [[{}]],
    sequences: [["c"]],
    io: [[null], [["o", null]], [["o", { reads: COUNTS, writes: { ...COUNTS, buckets: 1 } }]]],
    stats: [
      { ...STATS, caches: [null] },
      { ...STATS, cache: { hits: {} } },
    ],
  };
  for (const [name, values] of Object.entries(bad))
    for (const value of values)
      assert.throws(
        () => hostPartOf({ ...OWN, [name]: value }, OWN),
        isInvalid,
        `${name}: ${JSON.stringify(value)}`,
      );
});

test("other answers of hosts are checked, and may tell more than is known here", () => {
  const seen = { host: "h2", storage: "up", more: 1 };
  assert.deepEqual(readAnswers(seenHostShape, [seen]), [seen]);
  for (const said of [null, {}, [null], [{ host: 1, storage: "up" }]])
    assert.throws(() => readAnswers(seenHostShape, said), isInvalid);
  const changes = { name: "v", sizeBytes: 1, ranges: [] };
  assert.deepEqual(readAnswer(volumeChangesShape, changes), changes);
  for (const said of [null, [], { ...changes, ranges: [null] }])
    assert.throws(
      () => readAnswer(volumeChangesShape, said, "host-unreachable"),
      (error) => error instanceof CodedError && error.code === "host-unreachable",
    );
});

test("a host whose answers cannot be read counts as silent, and is told of now and then", async () => {
  const lines: string[] = [];
  let nowMs = 0;
  const answers = new PeerAnswers({
    log: { write: (_level, message) => void lines.push(message) },
    clock: { nowMs: () => nowMs, wallMs: () => nowMs, after: () => ({ cancel() {} }) },
  });
  const away = new CodedError({ code: "host-unreachable", message: "away" });
  for (const error of [away, new TypeError("null has no map"), new TypeError("again")])
    assert.equal(await answers.of("h2", "host.part", () => Promise.reject(error)), undefined);
  assert.equal(await answers.of("h2", "host.part", () => Promise.resolve(7)), 7);
  const told = "the answer of a host to host.part is left out: ";
  assert.deepEqual(lines, [`${told}null has no map`]);
  nowMs = 700_000;
  await answers.of("h2", "host.part", () => Promise.reject(new TypeError("later")));
  assert.deepEqual(lines, [`${told}null has no map`, `${told}later`]);
});
