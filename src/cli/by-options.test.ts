import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { checkRequest } from "../host/api/api-match.ts";
import { operationRow, operations } from "../host/index.ts";
import type { OperationName } from "../host/index.ts";
import { byOptions } from "./by-options.ts";

function refused(name: OperationName, request: object): CodedError {
  try {
    checkRequest(operationRow(name), request);
  } catch (error) {
    const told = byOptions(operations[name], error);
    assert.ok(told instanceof CodedError);
    return told;
  }
  throw new Error(`was not refused: ${name}`);
}

test("what a host refuses is told by the names of options", () => {
  const create = refused("volume.create", { name: "", sizeBytes: 512, failuresToTolerate: 5 });
  assert.equal(create.code, "request-invalid");
  assert.equal(
    create.message,
    "NAME must not be empty; --failures-to-tolerate is 5, the most is 3",
  );
  assert.equal(create.fault.hint, "Run: drystone volume create --help");
  const access = { name: "a", role: "admin", scopes: ["nonsense"] };
  assert.match(refused("access.create", access).message, /^--scope is no scope: /);
  assert.match(
    refused("settings.change", { fingerprints: "maybe" }).message,
    /^--fingerprints must/,
  );
});

test("other errors are as they were", () => {
  const other = new CodedError({ code: "volume-exists", message: "volume.create: name" });
  assert.equal(byOptions(operations["volume.create"], other), other);
  const strange = new CodedError({ code: "request-invalid", message: "the body is too large" });
  assert.equal(byOptions(operations["volume.create"], strange), strange);
});
