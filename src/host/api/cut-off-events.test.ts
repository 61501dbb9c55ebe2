import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CutOffEvents } from "./cut-off-events.ts";

class Told {
  readonly messages: string[] = [];
  readonly #callbacks: (() => void)[] = [];
  readonly events: CutOffEvents = new CutOffEvents(
    {
      after: (_delayMs, callback) => {
        this.#callbacks.push(callback);
        return { cancel: () => this.#callbacks.splice(this.#callbacks.indexOf(callback), 1) };
      },
    },
    ({ level, message }) => this.messages.push(`${level}: ${message}`),
  );

  get waitingCount(): number {
    return this.#callbacks.length;
  }

  cutOff(volume: string, reason: string, isOurs = false): void {
    this.events.add({ volume, socket: `/run/${volume}`, reason, isOurs });
  }

  passMinute(): void {
    for (const callback of this.#callbacks.splice(0)) callback();
  }
}

test("reasons that differ in a number are told once, with how many there were", () => {
  const told = new Told();
  for (let request = 0; request < 2000; request++)
    told.cutOff("v1", `request ${request}, which was not offered`);
  const first = "warning: the machine at volume v1 was cut off: request 0, which was not offered";
  assert.deepEqual(told.messages, [first]);
  told.passMinute();
  const more = "warning: machines at volume v1 were cut off 1999 more times within a minute";
  assert.deepEqual(told.messages, [first, more]);
  told.cutOff("v1", "request 7, which was not offered");
  assert.equal(told.messages.length, 3);
  told.passMinute();
  assert.equal(told.messages.length, 3, "nothing is told where nothing was left out");
});

test("reasons of the machine's choice are few, and nothing is remembered of the others", () => {
  const told = new Told();
  for (let i = 0; i < 1000; i++) told.cutOff("v1", `no socket: /${"x".repeat(i)}`);
  assert.equal(told.messages.length, 4);
  assert.equal(told.waitingCount, 1);
  told.cutOff("v2", "a ring without a kick");
  assert.equal(told.messages.length, 5, "another volume counts by itself");
  told.passMinute();
  assert.equal(told.messages.length, 6);
  assert.equal(told.waitingCount, 0);
});

test("a fault of this host is told however much its machines do", () => {
  const told = new Told();
  for (let i = 0; i < 100; i++) told.cutOff("v1", `reason ${"x".repeat(i)}`);
  told.cutOff("v1", "a fault of this host: offset is out of bounds", true);
  assert.equal(
    told.messages.at(-1),
    "error: the machine at volume v1 was cut off: a fault of this host: offset is out of bounds",
  );
});

test("when the host stops, nothing is left that would tell more", () => {
  const told = new Told();
  for (let i = 0; i < 9; i++) told.cutOff("v1", "the same");
  told.events.close();
  assert.equal(told.waitingCount, 0);
});
