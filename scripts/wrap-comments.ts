/**
 * Re-flows comment paragraphs that run over the line limit: the formatter leaves comments alone.
 * Paragraphs that fit, lists, tables and code examples stay as their author wrote them.
 *
 *   node dist/scripts/wrap-comments.js [FILE ...]     (none: all sources)
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { filesBelow, REPOSITORY } from "./repository.ts";
import { wrapComments } from "./tidy/wrap-comments.ts";

function sourceFiles(): string[] {
  return ["src", "test", "scripts", "bench"].flatMap((folder) =>
    filesBelow(REPOSITORY, folder, (name) => /\.(?:ts|mjs)$/.test(name)).map((path) =>
      join(REPOSITORY, path),
    ),
  );
}

function main(given: readonly string[]): void {
  const files = given.length > 0 ? given.map((path) => resolve(path)) : sourceFiles();
  for (const file of files) {
    const before = readFileSync(file, "utf8");
    const after = wrapComments(before);
    if (after === before) continue;
    writeFileSync(file, after);
    console.log(`wrapped ${file}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
