import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { ConsoleLog } from "./console-log.ts";

function logFile(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "console-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return path.join(folder, "serial.log");
}

test("a console is read from any place on, and its end without one", (t) => {
  const file = logFile(t);
  const log = new ConsoleLog(file);
  assert.deepEqual(log.read(undefined, 100), { from: 0, next: 0, text: "" });
  fs.appendFileSync(file, "one\ntwo\n");
  assert.deepEqual(log.read(undefined, 4), { from: 4, next: 8, text: "two\n" });
  assert.deepEqual(log.read(0, 4), { from: 0, next: 4, text: "one\n" });
  assert.deepEqual(log.read(8, 100), { from: 8, next: 8, text: "" });
  assert.deepEqual(log.read(99, 100), { from: 8, next: 8, text: "" });
});

test("a character is never cut in two", (t) => {
  const file = logFile(t);
  const log = new ConsoleLog(file);
  fs.appendFileSync(file, Buffer.from("aé漢🗿").subarray(0, 9));
  assert.deepEqual(log.read(0, 2), { from: 0, next: 1, text: "a" });
  assert.deepEqual(log.read(0, 100), { from: 0, next: 6, text: "aé漢" });
  fs.appendFileSync(file, Buffer.from("🗿").subarray(3));
  assert.deepEqual(log.read(6, 100), { from: 6, next: 10, text: "🗿" });
});

test("a long console keeps its end, and places in it stay what they are", (t) => {
  const file = logFile(t);
  const log = new ConsoleLog(file);
  const line = `${"x".repeat(1023)}\n`;
  let printed = 0;
  for (let i = 0; i < 40; i++) {
    fs.appendFileSync(file, line.repeat(512));
    printed += 512 * 1024;
    log.trim();
    assert.equal(log.read(undefined, 1024).text, line);
    assert.equal(log.read(undefined, 1024).next, printed);
  }
  assert.ok(fs.statSync(file).size <= 8 * 2 ** 20);
  const kept = log.read(0, 10);
  assert.ok(kept.from > 10 * 2 ** 20 && kept.from % 1024 === 0);
});
