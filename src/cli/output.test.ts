import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { mayColour, plain, reportFault } from "./output.ts";
import type { Output } from "./output.ts";

function recorded(isJson: boolean): { output: Output; data: string[]; messages: string[] } {
  const data: string[] = [];
  const messages: string[] = [];
  const output: Output = {
    data: (text) => void data.push(text),
    message: (text) => void messages.push(text),
    style: plain,
    widthMax: Infinity,
    isJson,
  };
  return { output, data, messages };
}

test("colour is for terminals, and NO_COLOR or a dumb terminal switch it off", () => {
  assert.equal(mayColour({ isTTY: true }, {}), true);
  assert.equal(mayColour({ isTTY: true }, { NO_COLOR: "" }), true);
  assert.equal(mayColour({ isTTY: true }, { NO_COLOR: "1" }), false);
  assert.equal(mayColour({ isTTY: true }, { TERM: "dumb" }), false);
  assert.equal(mayColour({}, {}), false);
});

test("a failure is one line with cause and next step on stderr", () => {
  const { output, data, messages } = recorded(false);
  reportFault(output, {
    code: "no-space",
    message: "the device\nis full",
    hint: "Delete something",
  });
  assert.deepEqual(messages, ["drystone: the device is full. Delete something\n"]);
  assert.deepEqual(data, []);
});

test("a failure's text makes a terminal do nothing", () => {
  const { output, messages } = recorded(false);
  reportFault(output, { code: "x", message: "no \u001b]0;owned\u0007", hint: "\u202etry" });
  assert.deepEqual(messages, ["drystone: no \\x1b]0;owned\\x07. \\u202etry\n"]);
});

test("the program is named in a hint as it is typed", () => {
  const { output, messages } = recorded(false);
  reportFault(output, { code: "x", message: "no", hint: "drystone status tells why" });
  reportFault(output, { code: "x", message: "no", hint: "run drystone status" });
  assert.deepEqual(messages, [
    "drystone: no. drystone status tells why\n",
    "drystone: no. Run drystone status\n",
  ]);
});

test("with --json a failure is an object on stdout", () => {
  const { output, data, messages } = recorded(true);
  reportFault(output, { code: "no-space", message: "full", hint: "Delete something" });
  assert.deepEqual(JSON.parse(data.join("")), {
    error: { code: "no-space", message: "full", hint: "Delete something" },
  });
  assert.deepEqual(messages, []);
});
