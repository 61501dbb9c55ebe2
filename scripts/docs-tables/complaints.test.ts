import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "../../test/support/test.ts";

const repository = fileURLToPath(new URL("../../..", import.meta.url));

/** What was found in comparable systems until 2026: a table without one of them is not whole. */
const CLASSES = [
  ...["CVE-2022-26495", "CVE-2022-26496", "CVE-2024-7409", "CVE-2020-10761", "CVE-2021-3716"],
  ...["CVE-2019-14842", "CVE-2019-14850", "CVE-2019-14851", "CVE-2022-0485", "CVE-2021-36779"],
  ...["CVE-2021-36780", "CVE-2021-20288", "CVE-2018-1128", "CVE-2020-25660", "CVE-2025-30156"],
  ...["CVE-2018-10841", "CVE-2018-1059", "CVE-2021-3139", "CVE-2020-28374", "CVE-2021-21985"],
];

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

/** Returns how many tests the text names, all of which are there. */
function checkNamed(text: string): number {
  const files = testFiles();
  const named = [...text.matchAll(/`([\w-]+\.test\.ts)`(?:: ([^;|]+))?/g)];
  for (const [, file = "", title = ""] of named) {
    const texts = files.get(file);
    assert.ok(texts !== undefined, `there is no ${file}`);
    const isThere = texts.some((text) => text.includes(title.trim()));
    assert.ok(isThere, `${file} has nothing like "${title.trim()}"`);
  }
  return named.length;
}

test("every test that the list of complaints names is there", () => {
  const page = fs.readFileSync(path.join(repository, "docs/internals/complaints.md"), "utf8");
  assert.ok(checkNamed(page) > 30, "tests are named");
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2);
  for (const row of rows) {
    const shownBy = row.split("|")[3]?.trim() ?? "";
    assert.match(shownBy, /test|trial|mutant/, row);
  }
});

test("each class of weakness that others had to mend has a test that is there", () => {
  const page = fs.readFileSync(path.join(repository, "docs/security.md"), "utf8");
  const [, section = ""] = page.split("## What others had to mend");
  const rows = section
    .split("\n## ")[0]!
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2);
  const classes = rows.flatMap((row) => row.match(/CVE-\d{4}-\d+/g) ?? []);
  assert.deepEqual(
    CLASSES.filter((one) => !classes.includes(one)),
    [],
    "all are in the table",
  );
  for (const row of rows) {
    const titled = [...row.matchAll(/`[\w-]+\.test\.ts`: \w/g)];
    assert.ok(titled.length > 0 && checkNamed(row) === titled.length, `titles are named: ${row}`);
  }
});
