import { readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, REPOSITORY } from "../repository.ts";
import { markdownTable } from "./markdown-table.ts";

const FOLDER = "docs/decisions";

/** The decisions in order, with title and state as their pages give them. */
export function decisionsTable(): string {
  const files = filesBelow(REPOSITORY, FOLDER, (name) => /^\d{4}-.*\.md$/.test(name));
  const rows = files.map((path) => {
    const text = readFileSync(join(REPOSITORY, path), "utf8");
    const name = path.slice(FOLDER.length + 1);
    const title = /^# (?:\d{4}: )?(.+)$/m.exec(text)?.[1] ?? name;
    const state = /^State: ([^.]+)\./m.exec(text)?.[1] ?? "";
    return [`[${name.slice(0, 4)}](${name})`, title, state];
  });
  return markdownTable(["number", "decision", "state"], rows);
}
