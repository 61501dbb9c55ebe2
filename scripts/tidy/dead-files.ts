/** Source files that no entry, test or floor's public face leads to. */
import { posix } from "node:path";
import { isTest, withoutComments, type Problem, type SourceFile } from "./source-file.ts";

/** An import, or `new URL("./x.js", import.meta.url)` as workers are started. */
const REFERENCE = /(?:from\s*|import\s*\(?\s*|new URL\(\s*)"(\.{1,2}\/[^"]+)"/g;

export function isRoot(path: string): boolean {
  return (
    isTest(path) ||
    path.endsWith(".bench.ts") ||
    /^src\/[^/]+\/index\.ts$/.test(path) ||
    /^(?:src\/(?:cli|host|trial)|bench)\/main\.ts$/.test(path) ||
    /^scripts\/[^/]+\.(?:ts|mjs)$/.test(path) ||
    path === "web/src/main.tsx"
  );
}

export function references(file: SourceFile): string[] {
  return [...withoutComments(file.text).matchAll(REFERENCE)].map((match) =>
    posix.join(posix.dirname(file.path), match[1] ?? "").replace(/\.js$/, ".ts"),
  );
}

export function deadFiles(files: readonly SourceFile[]): Problem[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const waiting = files.filter((file) => isRoot(file.path)).map((file) => file.path);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    waiting.push(...references(file));
  }
  return files
    .filter((file) => !reached.has(file.path))
    .map(({ path }) => ({ path, line: 0, message: "nothing imports it: use it or delete it" }));
}
