import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { test } from "../../../test/support/test.ts";
import { pathOf, routes } from "./api-routes.ts";
import { openApi } from "./openapi.ts";
import { operationNames, operationRow } from "./operations.ts";

test("the routes for programs are those of the operation table", () => {
  assert.deepEqual(Object.keys(routes), [...operationNames]);
  for (const name of operationNames) {
    const { method, path } = operationRow(name);
    assert.deepEqual(routes[name], { method, path }, name);
  }
});

test("fields of the path go into it, encoded, and the others stay", () => {
  assert.deepEqual(pathOf("volume.resize", { name: "a/b ü", sizeBytes: 512 }), {
    path: "/v1/volumes/a%2Fb%20%C3%BC/resize",
    rest: { sizeBytes: 512 },
  });
});

test("the description is one that tools for OpenAPI 3.1 take", async () => {
  const document = openApi();
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors));
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    assert.ok(text.includes(`"${name}":{"type":"object"`), `${name} is described`);
  }
  for (const name of operationNames) assert.ok(text.includes(`"operationId":"${name}"`), name);
});
