/**
 * Writes the generated parts of the documents; with --check only tells which are out of date.
 * Exit code 1 if a document is out of date (--check) or cannot be generated.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { regenerate } from "./docs-tables/generated-sections.ts";
import { generatedFiles, providers } from "./docs-tables/providers.ts";
import { filesBelow, REPOSITORY } from "./repository.ts";

const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });

const used = new Set<string>();
let faults = 0;

function fail(path: string, message: string): void {
  console.log(`${path}: ${message}`);
  faults++;
}

for (const path of filesBelow(REPOSITORY, ".", (name) => name.endsWith(".md"))) {
  const before = readFileSync(join(REPOSITORY, path), "utf8");
  const { text, names, fault } = regenerate(before, providers);
  for (const name of names) used.add(name);
  if (fault !== undefined) fail(path, fault);
  else if (text !== before && values.check) fail(path, "out of date; run: npm run format");
  else if (text !== before) {
    writeFileSync(join(REPOSITORY, path), text);
    console.log(`${path}: written`);
  }
}
for (const [path, generate] of generatedFiles) {
  const file = join(REPOSITORY, path);
  const text = generate();
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (values.check) {
    fail(path, "out of date; run: npm run format");
    continue;
  }
  writeFileSync(file, text);
  console.log(`${path}: written`);
}
for (const name of providers.keys()) {
  if (!used.has(name)) fail("docs", `no document has a section <!-- generated: ${name} -->`);
}
console.log(`${used.size} generated sections, ${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
