import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { test } from "../support/test.ts";
import { SoakLogs } from "./soak-logs.ts";

interface Scene {
  readonly logs: SoakLogs;
  readonly findings: string[];
  readonly append: (text: string, name?: string) => void;
}

function scene(t: TestContext): Scene {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-logs-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.mkdirSync(path.join(folder, "h1"));
  const findings: string[] = [];
  const logs = new SoakLogs({ folder, found: (what) => findings.push(what) });
  const append = (text: string, name = "host.log"): void =>
    fs.appendFileSync(path.join(folder, "h1", name), text);
  return { logs, findings, append };
}

const entry = (level: string, message: string): string => `${JSON.stringify({ level, message })}\n`;

test("an error in a log is found once, also if half of it was there at the first look", (t) => {
  const { logs, findings, append } = scene(t);
  const line = JSON.stringify({ level: "error", message: "closing failed", error: "too slow" });
  append(entry("info", "stopping") + line.slice(0, 20));
  logs.look();
  assert.deepEqual(findings, []);
  append(`${line.slice(20)}\n`);
  logs.look();
  logs.look();
  assert.deepEqual(findings, ["h1/host.log has an error: closing failed (too slow)"]);
});

test("what no log has written is found, what the plan's faults bring about is not", (t) => {
  const { logs, findings, append } = scene(t);
  append("drystone: SIGTERM: stopping; once more ends at once\n");
  append("drystone: SIGTERM again: ending at once\n");
  append(entry("error", "etcd has ended and will be started again"));
  append(entry("error", "block 17 of component 0a1b2c3d4e5f is damaged: its checksum differs"));
  logs.look();
  assert.deepEqual(findings, []);
  append("Error: an assertion failed\n");
  logs.look();
  assert.deepEqual(findings, ["h1/host.log has: Error: an assertion failed"]);
});

test("warnings are counted by what they say", (t) => {
  const { logs, findings, append } = scene(t);
  append(entry("warning", "component 0a1b2c3d4e5f is stale for 12 s"));
  append(entry("warning", "component 1a1b2c3d4e5f is stale for 7 s"));
  logs.look();
  assert.deepEqual(findings, []);
  assert.deepEqual(logs.said, { "warning: component ID is stale for N s": 2 });
});

test("only what is written for people is read, not the log of a device's metadata", (t) => {
  const { logs, findings, append } = scene(t);
  append("\x04\0\0pages\n", "data.mdb.log");
  logs.look();
  assert.deepEqual(findings, []);
});
