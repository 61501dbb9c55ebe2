/** The screen that `drystone status` shows. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { DeviceView, HostView, StatusView } from "../host/index.ts";
import { plain } from "./output.ts";
import { statusLines } from "./render-status.ts";

const output = {
  data: () => undefined,
  message: () => undefined,
  style: plain,
  widthMax: Infinity,
  isJson: false,
};

function host(name: string, more: Partial<HostView> = {}): HostView {
  return {
    ...{ name, hostId: name.repeat(16), state: "up", storage: "up", management: "up" },
    ...{ apiAddress: `${name}:9443`, faultDomain: name, attachedCount: 0 },
    ...more,
  };
}

function device(hostName: string, more: Partial<DeviceView> = {}): DeviceView {
  return {
    ...{ deviceId: `${hostName}cafe00112233`, host: hostName, path: `/srv/${hostName}` },
    ...{ state: "online", adapter: "io_uring", capacityBytes: 2 ** 40, freeBytes: 2 ** 39 },
    ...{ logicalBytes: 0, uniqueBytes: 0, physicalBytes: 0, reclaimableBytes: 0 },
    ...{ checksumErrors: 0, readErrors: 0, damagedBlocks: 0, componentCount: 1 },
    ...more,
  };
}

function status(more: Partial<StatusView> = {}): StatusView {
  return {
    ...{ health: "healthy", reasons: [], version: "1.2.3", clusterId: "c", uptimeMs: 61_000 },
    ...{ hosts: [host("h2"), host("h1")], devices: [device("h1"), device("h2")] },
    capacity: { capacityBytes: 2 ** 41, freeBytes: 2 ** 40, usedBytes: 2 ** 39 },
    ...{ volumeCount: 0, attachments: [], resyncs: [], conditions: [] },
    ...more,
  };
}

test("of many troubles of a kind some are shown, and what to do about them once", () => {
  const reasons = Array.from({ length: 250 }, (_, index) => ({
    ...{ code: "volume-degraded", message: `volume v${index} is degraded`, action: "wait" },
  }));
  const down = { code: "host-down", message: "host h2 is down", action: "start it" };
  const attachments = Array.from({ length: 30 }, (_, index) => ({
    ...{ volume: `v${index}`, host: "h1", kind: "nbd" as const, address: "a", uri: "u" },
    ...{
      tls: false,
      readOnly: false,
      state: index === 29 ? ("failed" as const) : ("online" as const),
    },
  }));
  const lines = statusLines(status({ reasons: [down, ...reasons], attachments }), output);
  assert.deepEqual(lines.slice(1, 10), [
    "   status: host h2 is down",
    "   action: start it",
    ...[0, 1, 2, 3, 4].map((index) => `   status: volume v${index} is degraded`),
    "   action: wait",
    "   status: and 245 more: `drystone health show volume-degraded` shows all",
  ]);
  assert.ok(
    lines.some((line) => /^v29 +h1 +failed/.test(line)),
    "what is not well is shown",
  );
  assert.ok(lines.includes(" attached: and 10 more: `drystone volume list` shows all"));
  assert.ok(lines.length < 60, `${lines.length} lines`);
});

test("a healthy cluster is its state, its room and its tree", () => {
  assert.deepEqual(statusLines(status(), output), [
    "    state: healthy",
    " capacity: 512 GiB used of 2 TiB (25.0 %), 1 TiB free",
    "  volumes: 0, 0 attached",
    "    asked: drystone 1.2.3, up 1 min",
    "",
    "NAME        STATE   STORAGE  MANAGEMENT     FREE  READ  CKSUM  DAMAGED  WHERE",
    "h1          up      up       up                                         h1:9443",
    "  h1cafe00  online                       512 GiB     0      0        0  /srv/h1",
    "h2          up      up       up                                         h2:9443",
    "  h2cafe00  online                       512 GiB     0      0        0  /srv/h2",
    "",
    "   errors: no known data errors",
  ]);
});

test("what is the matter stands with what to do, and what is under way with its time left", () => {
  const lines = statusLines(
    status({
      health: "degraded",
      reasons: [
        { code: "host-down", message: "host h2 is down", action: "start it again" },
        { code: "damaged-blocks", message: "blocks are damaged", action: "replace the device" },
      ],
      hosts: [host("h1", { maintenance: "evacuate" }), host("h2", { state: "down" })],
      devices: [
        device("h1", { isLeaving: true, scrubShare: 0.129, readErrors: 3, checksumErrors: 4 }),
        device("h2", { state: "failed", reason: "it is gone", damagedBlocks: 5 }),
      ],
      resyncs: [
        {
          ...{ volume: "web1", componentId: "1", kind: "rebuild", state: "running", host: "h1" },
          ...{ device: "d", from: "h2", share: 0.251, bytesNeeded: 2 ** 30, bytesSent: 2 ** 29 },
          ...{ bytesSkipped: 2 ** 28, secondsLeft: 90 },
        },
        {
          ...{ volume: "web2", componentId: "2", kind: "catch-up", state: "blocked", host: "h1" },
          ...{ device: "d", bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0 },
          reason: "no host has room",
        },
      ],
    }),
    output,
  );
  assert.deepEqual(lines.slice(0, 8), [
    "    state: degraded",
    "   status: host h2 is down",
    "   action: start it again",
    "   status: blocks are damaged",
    "   action: replace the device",
    "   resync: rebuild of web1, h2 -> h1, 25 % looked at, 512 MiB sent, 256 MiB were there already, 2 min left",
    "   resync: catch-up of web2, on h1, no host has room, 0 B sent",
    "    scrub: device h1cafe00 on h1, 12 % read",
  ]);
  const text = lines.join("\n");
  assert.match(text, /h1 +up, in maintenance +up/);
  assert.match(text, /h1cafe00 +online, leaving +512 GiB +3 +4 +0 +\/srv\/h1/);
  assert.match(text, /h2cafe00 +failed +512 GiB +0 +0 +5 +it is gone/);
  assert.match(text, /errors: 5 stored blocks are damaged: `drystone health show damaged-blocks`/);
});

test("what is the matter with networks stands with what it means and what each host sees", () => {
  const kind = "host-isolated" as const;
  const said = { kind, hosts: ["h2"], message: "h2 is alone", meaning: "it runs", action: "look" };
  const sees = (name: string) => [{ host: name, storage: "up", management: "down" }] as const;
  const views = [
    { name: "h1", sees: sees("h2") },
    { name: "h2", sees: sees("h1") },
  ];
  const lines = statusLines(status({ conditions: [said], views }), output);
  assert.deepEqual(lines.slice(1, 4), [
    "  network: host isolated: h2 is alone",
    "    means: it runs",
    "   action: look",
  ]);
  assert.ok(lines.includes("SEEN FROM  h1            h2"));
  assert.ok(lines.includes("h1         -             storage only"));
});
