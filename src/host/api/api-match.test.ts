import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { checkRequest, queryFields } from "./api-match.ts";
import { operationRow } from "./operations.ts";

const status = operationRow("status");
const fieldsOf = (query: string): Record<string, unknown> =>
  queryFields(operationRow("events"), new URL(`http://host/v1/events?${query}`));

test("query parameters are what the request's shape wants", () => {
  assert.deepEqual(fieldsOf("limit=5&follow=true"), { limit: 5, follow: true });
  assert.deepEqual(fieldsOf("limit=x&follow="), { limit: "x", follow: true });
});

test("query parameters named as parts of every object are refused as any unknown one is", () => {
  for (const name of ["constructor", "__proto__", "toString", "hasOwnProperty", "unknown"]) {
    const value = { ...queryFields(status, new URL(`http://host/v1/status?${name}=1`)) };
    assert.throws(
      () => checkRequest(status, value),
      (error) =>
        error instanceof CodedError &&
        error.code === "request-invalid" &&
        error.message.includes(`${name} is not known`),
      name,
    );
  }
});
