import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { SeldomTold } from "./seldom-told.ts";

test("what happens again and again is told once in a while, with how often it has happened", () => {
  let nowMs = 5;
  const seldom = new SeldomTold({ nowMs: () => nowMs }, 1000);
  assert.equal(seldom.due("a"), 0);
  for (let i = 0; i < 7; i++) {
    nowMs += 100;
    assert.equal(seldom.due("a"), undefined);
  }
  assert.equal(seldom.due("b"), 0, "another one is told at once");
  nowMs += 300;
  assert.equal(seldom.due("a"), 7);
  nowMs += 500;
  assert.equal(seldom.due("a"), undefined);
  nowMs += 500;
  assert.equal(seldom.due("a"), 1);
  nowMs += 5000;
  assert.equal(seldom.due("a"), 0);
});

test("keys of somebody's choice take a bounded room, and those beyond it count as one", () => {
  let nowMs = 5;
  const seldom = new SeldomTold({ nowMs: () => nowMs }, 1000);
  for (let i = 0; i < 1024; i++) assert.equal(seldom.due(`key ${i}`), 0);
  assert.equal(seldom.due("more"), 0);
  assert.equal(seldom.due("still more"), undefined);
  assert.equal(seldom.due("key 7"), undefined);
  nowMs += 1000;
  assert.equal(seldom.due("still more"), 0, "there is room again");
  assert.equal(seldom.due("key 7"), 0);
});
