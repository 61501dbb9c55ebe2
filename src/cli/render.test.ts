import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { coloured, plain } from "./output.ts";
import type { Output } from "./output.ts";
import { followedLine, render } from "./render.ts";

const output: Output = {
  ...{ data: () => {}, message: () => {}, style: plain, widthMax: 200, isJson: false },
};
const EVIL = "x\u001b]0;owned\u0007\u001b[2J\n2026-11-28T00:00:00Z  admin\u202e";
const SHOWN = "x\\x1b]0;owned\\x07\\x1b[2J\\x0a2026-11-28T00:00:00Z  admin\\u202e";

test("what others have chosen is printed without what a terminal obeys, in one line", () => {
  const entry = {
    sequence: 1,
    timeMs: 0,
    who: "token v",
    remote: "::1",
    operation: "volume.detach",
  };
  const audit = { entries: [{ ...entry, target: EVIL, outcome: "right-missing" }] };
  const text = render("audit.list", audit, output);
  assert.ok(text.includes(SHOWN), text);
  assert.equal(text.split("\n").length, 3);
  const event = {
    sequence: 1,
    timeMs: 0,
    level: "error",
    kind: "k",
    message: EVIL,
    details: {},
  } as const;
  const line = followedLine(event, { ...output, style: coloured });
  assert.ok(line.includes(SHOWN) && line.includes("\u001b[31merror"), "our own colours stay");
});

test("what a machine prints on its console, and files to keep, stay as they are", () => {
  const console = {
    name: "web1",
    host: "h1",
    text: "\u001b[1mlogin:\u001b[0m ",
    from: 0,
    next: 1,
    epoch: 1,
  };
  assert.equal(render("vm.console", console, output), `${console.text}\n`);
  const files = [{ name: "client-cert.pem", content: "BEGIN\nabc\nEND\n" }];
  const client = {
    name: "c",
    volumes: ["*"],
    proof: "certificate",
    createdMs: 0,
    expiresMs: 0,
  } as const;
  assert.ok(render("client.create", { ...client, files }, output).includes("BEGIN\nabc\nEND"));
});

test("a volume tells why a component of it is not repaired, below the component", () => {
  const reason = "no device may take it; add a device or a host";
  const ids = ["a".repeat(32), "b".repeat(32)] as const;
  const [good, stale] = ids;
  const at = { host: "h1", device: "d".repeat(32) };
  const volume = {
    ...{ name: "v", objectId: "0".repeat(32), sizeBytes: 4096, failuresToTolerate: 1, stripes: 1 },
    ...{ accessible: true, epoch: 1, owner: "h1" },
    tree: {
      kind: "mirror",
      children: ids.map((componentId) => ({ kind: "component", componentId }) as const),
    },
    components: [
      { ...at, componentId: good, state: "active", sequence: 4 },
      { ...at, componentId: stale, state: "stale", sequence: 2, reason },
      { ...at, componentId: "c".repeat(32), state: "building", reason: "its device is full" },
    ],
  } as const;
  const lines = render("volume.show", volume, output).trimEnd().split("\n");
  assert.deepEqual(lines.slice(-6), [
    "mirror",
    "  component aaaaaaaa  active  h1/dddddddd  sequence 4",
    "  component bbbbbbbb  stale  h1/dddddddd  sequence 2",
    `    why: ${reason}`,
    "being made cccccccc  building  h1/dddddddd",
    "  why: its device is full",
  ]);
});
