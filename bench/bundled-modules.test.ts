import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { moduleAt } from "./bundled-modules.ts";

const BUNDLE = new URL("../run/", import.meta.url);

test("a line of the bundled program is known by its module", () => {
  const found = fs.readdirSync(fileURLToPath(BUNDLE)).flatMap((name) => {
    const lines = fs.readFileSync(new URL(name, BUNDLE), "utf8").split("\n");
    const line = lines.findIndex((one) => one.startsWith("var DirectoryMirror = class"));
    return line < 0 ? [] : [moduleAt(new URL(name, BUNDLE).href, line)];
  });
  assert.deepEqual(found, ["/dist/src/cluster/directory-mirror.js"]);
});

test("what is not bundled goes by its address", () => {
  assert.equal(moduleAt("node:net", 12), "node:net");
  assert.equal(moduleAt(import.meta.url, 3), import.meta.url);
});
