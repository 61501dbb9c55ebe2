import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { countAssertions } from "./assertions.ts";
import { bannedText, fileName } from "./bans.ts";
import { deadFiles } from "./dead-files.ts";
import { documentLinks, documentTitle } from "./documents.ts";
import { lineLengths } from "./lengths.ts";
import type { SourceFile } from "./source-file.ts";

const file = (path: string, text: string): SourceFile => ({ path, text });

/** Bans that a line of code breaks when it stands at a path. */
const broken = (path: string, text: string): number => bannedText(file(path, text)).length;

test("time, chance, timers and console are banned but for where they belong", () => {
  const cases: readonly [string, string, readonly string[]][] = [
    ["Date.now()", "src/store/a.ts", ["src/platform/a.ts", "scripts/a.ts", "test/e2e/a.ts"]],
    [
      "setTimeout(f, 1)",
      "src/cluster/a.ts",
      ["src/platform/a.ts", "src/host/a.ts", "src/a.test.ts"],
    ],
    ["console.log(1)", "src/platform/a.ts", ["src/cli/a.ts", "scripts/a.ts"]],
    ["Math.random()", "scripts/a.ts", []],
  ];
  for (const [code, bannedAt, allowedAt] of cases) {
    assert.equal(broken(bannedAt, code), 1, `${code} at ${bannedAt}`);
    for (const path of allowedAt) assert.equal(broken(path, code), 0, `${code} at ${path}`);
  }
});

test("a ban names its line and the replacement, and does not read comments", () => {
  const [problem, ...others] = bannedText(
    file("src/store/a.ts", "// Date.now() is not used\n/* nor\n Date.now() */\nf(Date.now());\n"),
  );
  assert.deepEqual(others, []);
  assert.equal(problem?.line, 4);
  assert.match(problem.message, /clock port/);
});

test("notes to finish later are found in comments, and lone tests in tests", () => {
  assert.equal(broken("src/base/a.ts", `// ${"TO"}${"DO"}: later`), 1);
  assert.equal(broken("src/base/a.test.ts", "test.only('x', f)"), 1);
});

test("a lint rule may be silenced only with a reason", () => {
  assert.equal(broken("src/base/a.ts", "// oxlint-disable-next-line no-eval"), 1);
  assert.equal(broken("src/base/a.ts", "// oxlint-disable-next-line no-eval -- a reason"), 0);
});

test("file names are kebab-case and say what the file holds", () => {
  for (const name of ["content-map.ts", "disk.test.ts", "disk.conformance.ts", "a/setup.mjs"]) {
    assert.deepEqual(fileName(file(`src/base/${name}`, "")), [], name);
  }
  for (const name of ["ContentMap.ts", "content_map.ts", "utils.ts", "helper.test.ts"]) {
    assert.equal(fileName(file(`src/base/${name}`, "")).length, 1, name);
  }
});

test("long lines are reported by number, but not those that cannot be broken", () => {
  const long = "x".repeat(101);
  assert.deepEqual(
    lineLengths(file("a.ts", `short\n${long}\n`)).map((problem) => problem.line),
    [2],
  );
  assert.deepEqual(lineLengths(file("a.ts", `  message: "${long}",`)), []);
  assert.deepEqual(lineLengths(file("a.ts", `// see https://example.org/${long}`)), []);
  assert.deepEqual(lineLengths(file("a.ts", `test("${long}", () => {`)), []);
  assert.deepEqual(lineLengths(file("a.ts", ` * | ${long} | table |`)), []);
  assert.equal(lineLengths(file("a.ts", `f("${long}", g("x"), h)`)).length, 1);
});

test("a file is dead unless an index, a test, an entry or a worker's start leads to it", () => {
  const files = [
    file("src/store/index.ts", 'export { Journal } from "./journal.ts";'),
    file("src/store/journal.ts", 'import type { Ring } from "./ring.ts";'),
    file("src/store/ring.ts", ""),
    file("src/store/old.ts", 'import "./older.ts"; // import "./journal.ts"'),
    file("src/store/older.ts", ""),
    file("src/platform/index.ts", 'new Worker(new URL("./worker.js", import.meta.url));'),
    file("src/platform/worker.ts", 'await import("./late.ts");'),
    file("src/platform/late.ts", ""),
  ];
  assert.deepEqual(
    deadFiles(files).map((problem) => problem.path),
    ["src/store/old.ts", "src/store/older.ts"],
  );
});

test("a document has exactly one title, and code in it does not count", () => {
  assert.deepEqual(documentTitle(file("a.md", "# One\n\n```sh\n# comment\n```\n\n## Two\n")), []);
  assert.equal(documentTitle(file("a.md", "# One\n# Two\n")).length, 1);
  assert.equal(documentTitle(file("a.md", "text\n")).length, 1);
});

test("links to files must lead somewhere; addresses, anchors and code are left alone", () => {
  const exists = (path: string): boolean => path === "docs/there.md";
  const good = "[a](there.md) [b](./there.md#part) [c](https://x.org) [d](#here) `[e](nowhere.md)`";
  assert.deepEqual(documentLinks(file("docs/a.md", good), exists), []);
  const [problem] = documentLinks(file("docs/a.md", "x\n[a](../there.md)"), exists);
  assert.equal(problem?.line, 2);
});

test("assertions are counted per function, without tests and without comments", () => {
  const source = [
    "export function a(): void {",
    '  assert(true, "x"); // assert(',
    "  if (b) {",
    "  }",
    "}",
    "class C {",
    "  method(x: number): void {",
    "    for (const y of [].map((z) => { return z; })) assertDefined(y);",
    "  }",
    "}",
  ];
  const files = [file("src/base/a.ts", source.join("\n")), file("src/base/a.test.ts", "assert(1)")];
  assert.deepEqual(countAssertions("base", files), { floor: "base", functions: 3, assertions: 2 });
});
