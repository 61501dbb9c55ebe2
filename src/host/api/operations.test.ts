import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { ACCESS_SCOPES } from "./access-shapes.ts";
import { errorCodes, httpStatusOf } from "./error-codes.ts";
import { operationNames, operationRow, operations } from "./operations.ts";
import { processCommands } from "../process-commands.ts";
import { anyShape } from "./shape.ts";
import type { AnyShape } from "./shape.ts";

test("every operation has words, a path, a summary and examples that begin with its words", () => {
  for (const name of operationNames) {
    const row = operationRow(name);
    assert.equal(row.name, name);
    assert.ok(row.words.length > 0 && row.summary.length > 10, name);
    assert.match(row.path, /^\/v1\/[a-z:/-]+$/, name);
    assert.ok(row.examples.length > 0, name);
    for (const { line } of row.examples) {
      assert.ok(line.startsWith(`drystone ${row.words.join(" ")}`), line);
    }
  }
});

test("no two operations share words or method and path", () => {
  const rows = operationNames.map(operationRow);
  const commands = [...rows, ...Object.values(processCommands)].map(({ words }) => words.join(" "));
  assert.equal(new Set(commands).size, commands.length);
  const routes = rows.map(({ method, path }) => `${method} ${path}`);
  assert.equal(new Set(routes).size, routes.length);
});

test("every field of a path, positional and option is a field of the request", () => {
  for (const name of operationNames) {
    const row = operationRow(name);
    const fields = Object.keys(anyShape(row.request).fields);
    const inPath = [...row.path.matchAll(/:(\w+)/g)].map((match) => match[1]!);
    for (const field of [
      ...inPath,
      ...row.positionals,
      ...row.options.map((option) => option.field),
    ]) {
      assert.ok(fields.includes(field), `${name}: ${field}`);
    }
  }
});

test("every required field can be given on the command line", () => {
  for (const name of operationNames) {
    const row = operationRow(name);
    const given = [...row.positionals, ...row.options.map((option) => option.field)];
    for (const [field, { optional }] of Object.entries(anyShape(row.request).fields)) {
      assert.ok(optional || given.includes(field), `${name}: ${field}`);
    }
  }
});

test("an option's kind is the kind of its field", () => {
  const kinds = {
    flag: "boolean",
    text: "text",
    count: "integer",
    size: "integer",
    address: "text",
    path: "text",
  };
  for (const name of operationNames) {
    const row = operationRow(name);
    for (const option of row.options) {
      const field = anyShape(row.request).fields[option.field];
      const kind = option.isList === true ? "list" : kinds[option.kind];
      // One of several words is given as a text.
      const shown = field?.shape.kind === "choice" ? "text" : field?.shape.kind;
      assert.equal(shown, kind, `${name}: ${option.name}`);
      assert.equal(
        option.argument === undefined,
        option.kind === "flag",
        `${name}: ${option.name}`,
      );
    }
  }
});

test("every shape describes itself and its fields", () => {
  const visit = (shape: AnyShape, at: string, depth: number): void => {
    assert.ok(shape.description.length > 2, at);
    if (depth > 6) return;
    if (shape.kind === "list") visit(shape.of, `${at}[]`, depth + 1);
    if (shape.kind !== "object") return;
    for (const [name, field] of Object.entries(shape.fields))
      visit(field.shape, `${at}.${name}`, depth + 1);
  };
  for (const name of operationNames) {
    visit(anyShape(operationRow(name).request), name, 0);
    visit(anyShape(operationRow(name).response), name, 0);
  }
});

test("every error that an operation names is explained and has a status of its own", () => {
  for (const name of operationNames) {
    for (const code of operationRow(name).errors) assert.ok(code in errorCodes, `${name}: ${code}`);
  }
  assert.equal(httpStatusOf("volume-not-found"), 404);
  assert.equal(httpStatusOf("never-heard-of"), 500);
});

test("every operation belongs to a group that a token can be for", () => {
  for (const name of operationNames) assert.ok(ACCESS_SCOPES.includes(name.split(".")[0]!), name);
});

test("what destroys data asks before it does", () => {
  assert.match(operations["volume.delete"].danger ?? "", /NAME/);
});
