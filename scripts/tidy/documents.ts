/** Rules for the documents: one title each, and links that lead somewhere. */
import { posix } from "node:path";
import type { Problem, SourceFile } from "./source-file.ts";

const LINK = /\[[^\]]*\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g;

/** The text with fenced code and code spans blanked out, line for line. */
function prose(text: string): string[] {
  let inFence = false;
  return text.split("\n").map((line) => {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    if (isFence) inFence = !inFence;
    return inFence || isFence ? "" : line.replace(/`[^`]*`/g, "``");
  });
}

export function documentTitle(file: SourceFile): Problem[] {
  const titles = prose(file.text).filter((line) => /^# \S/.test(line)).length;
  if (titles === 1) return [];
  const message = `a document has one title (a line "# ..."), this one has ${titles}`;
  return [{ path: file.path, line: 0, message }];
}

/** `exists` tells whether a path relative to the repository is there. */
export function documentLinks(file: SourceFile, exists: (path: string) => boolean): Problem[] {
  const problems: Problem[] = [];
  for (const [index, line] of prose(file.text).entries()) {
    for (const match of line.matchAll(LINK)) {
      const target = (match[1] ?? "").replace(/#.*$/, "");
      if (target === "" || /^[a-z]+:/i.test(target)) continue;
      if (exists(posix.join(posix.dirname(file.path), decodeURIComponent(target)))) continue;
      problems.push({ path: file.path, line: index + 1, message: `link to nowhere: ${target}` });
    }
  }
  return problems;
}
