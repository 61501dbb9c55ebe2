/**
 * Taste as a check: what the compiler and the linter do not see. Prints one line per problem; exit
 * code 1 if there is any.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, REPOSITORY } from "./repository.ts";
import { ASSERTING_FLOORS, countAssertions } from "./tidy/assertions.ts";
import { bannedText, fileName } from "./tidy/bans.ts";
import { deadFiles } from "./tidy/dead-files.ts";
import { documentLinks, documentTitle } from "./tidy/documents.ts";
import { lineLengths } from "./tidy/lengths.ts";
import type { Problem, SourceFile } from "./tidy/source-file.ts";

const CODE_FOLDERS = ["src", "test", "scripts", "bench", "web"] as const;

function read(paths: readonly string[]): SourceFile[] {
  return paths.map((path) => ({ path, text: readFileSync(join(REPOSITORY, path), "utf8") }));
}

function codeProblems(files: readonly SourceFile[]): Problem[] {
  const each = files.flatMap((file) => [
    ...bannedText(file),
    ...fileName(file),
    ...lineLengths(file),
  ]);
  return [...each, ...deadFiles(files)];
}

function documentProblems(files: readonly SourceFile[]): Problem[] {
  const exists = (path: string): boolean => existsSync(join(REPOSITORY, path));
  return files.flatMap((file) => [...documentTitle(file), ...documentLinks(file, exists)]);
}

function reportAssertions(files: readonly SourceFile[]): void {
  const parts = ASSERTING_FLOORS.map((floor) => countAssertions(floor, files))
    .filter((count) => count.functions > 0)
    .map((count) => `${count.floor} ${(count.assertions / count.functions).toFixed(2)}`);
  console.log(`assertions per function: ${parts.join(", ")} (aim: 1)`);
}

const code = read(
  CODE_FOLDERS.flatMap((folder) =>
    filesBelow(
      REPOSITORY,
      folder,
      (name) => /\.(?:tsx?|mjs)$/.test(name) && !name.endsWith(".d.ts"),
    ),
  ),
);
const documents = read(filesBelow(REPOSITORY, ".", (name) => name.endsWith(".md")));
const problems = [...codeProblems(code), ...documentProblems(documents)];
for (const { path, line, message } of problems) {
  console.log(`${path}${line === 0 ? "" : `:${line}`}: ${message}`);
}
reportAssertions(code);
console.log(
  `${problems.length} problems in ${code.length} source files, ${documents.length} documents`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
