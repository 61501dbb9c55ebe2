import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../..", import.meta.url));

/** By name; several tests may have the same one. */
function testFiles(): ReadonlyMap<string, readonly string[]> {
  const files = new Map<string, string[]>();
  for (const floor of ["src", "test"]) {
    for (const found of fs.readdirSync(path.join(repository, floor), { recursive: true })) {
      const file = String(found);
      if (!file.endsWith(".test.ts")) continue;
      const name = path.basename(file);
      const text = fs.readFileSync(path.join(repository, floor, file), "utf8");
      files.set(name, [...(files.get(name) ?? []), text]);
    }
  }
  return files;
}

test("every test that the list of complaints names is there", () => {
  const page = fs.readFileSync(path.join(repository, "docs/internals/complaints.md"), "utf8");
  const files = testFiles();
  const named = [...page.matchAll(/`([\w-]+\.test\.ts)`(?:: ([^;|]+))?/g)];
  assert.ok(named.length > 30, `${named.length} are named`);
  for (const [, file = "", title = ""] of named) {
    const texts = files.get(file);
    assert.ok(texts !== undefined, `there is no ${file}`);
    const isThere = texts.some((text) => text.includes(title.trim()));
    assert.ok(isThere, `${file} has nothing like "${title.trim()}"`);
  }
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2);
  for (const row of rows) {
    const shownBy = row.split("|")[3]?.trim() ?? "";
    assert.match(shownBy, /test|trial|mutant/, row);
  }
});
