import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { anyShape, checkShape, shapeProblems } from "./shape.ts";
import type { ObjectShape } from "./shape.ts";

interface Example {
  readonly name: string;
  readonly count?: number;
  readonly colour?: "red" | "blue";
  readonly nested: readonly { readonly on: boolean }[];
}

const shape: ObjectShape<Example> = {
  kind: "object",
  description: "An example",
  fields: {
    name: { optional: false, shape: { kind: "text", lengthMax: 5, description: "A name" } },
    count: { optional: true, shape: { kind: "integer", min: 1, max: 9, description: "A count" } },
    colour: {
      optional: true,
      shape: { kind: "choice", values: ["red", "blue"], description: "A colour" },
    },
    nested: {
      optional: false,
      shape: {
        kind: "list",
        countMax: 2,
        description: "Switches",
        of: {
          kind: "object",
          description: "A switch",
          fields: { on: { optional: false, shape: { kind: "boolean", description: "On" } } },
        },
      },
    },
  },
};

const problems = (value: unknown): string[] => shapeProblems(anyShape(shape), value);

test("a value of the shape has no problems", () => {
  assert.deepEqual(problems({ name: "a", nested: [{ on: true }] }), []);
  assert.deepEqual(problems({ name: "a", count: 9, colour: "red", nested: [] }), []);
});

test("every problem is named, with its place", () => {
  const found = problems({
    name: "too long",
    count: 10,
    colour: "green",
    extra: 1,
    nested: [{ on: 1 }],
  });
  assert.equal(found.length, 5);
  assert.match(found.join("\n"), /extra is not known/);
  assert.match(found.join("\n"), /name has 8 characters, the most is 5/);
  assert.match(found.join("\n"), /count is 10, the most is 9/);
  assert.match(found.join("\n"), /colour must be one of red, blue, not "green"/);
  assert.match(found.join("\n"), /nested\[0\]\.on must be true or false, not 1/);
});

test("what is no object, missing, empty or too many is refused", () => {
  assert.match(problems([])[0]!, /must be an object/);
  assert.deepEqual(problems({}), ["name is missing", "nested is missing"]);
  assert.match(problems({ name: "", nested: [] })[0]!, /must not be empty/);
  assert.match(problems({ name: "a", nested: [1, 2, 3] })[0]!, /3 entries, the most is 2/);
  assert.match(problems({ name: "a", count: 1.5, nested: [] })[0]!, /whole number/);
});

test("lists and objects in the place of something else are told by their kind, however deep", () => {
  const deep: unknown = JSON.parse(`${"[".repeat(30_000)}${"]".repeat(30_000)}`);
  assert.match(problems({ name: deep, nested: [] })[0]!, /name must be a text, not a list$/);
  assert.match(problems({ name: { a: deep }, nested: [] })[0]!, /a text, not an object$/);
  assert.match(problems({ name: null, nested: [] })[0]!, /a text, not null$/);
});

test("a check throws one coded error with every problem", () => {
  assert.throws(
    () => checkShape(shape, { name: 1 }, "config-invalid", "Correct it"),
    (error) =>
      error instanceof CodedError &&
      error.code === "config-invalid" &&
      error.message === "name must be a text, not 1; nested is missing",
  );
});
