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
