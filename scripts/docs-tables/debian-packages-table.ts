import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";
import { markdownTable } from "./markdown-table.ts";

interface PackageRow {
  readonly package: string;
  readonly for: readonly string[];
  readonly why: string;
}

/** What the set-up installs, from the same rows it reads. */
export function debianPackagesTable(): string {
  const path = join(REPOSITORY, "scripts/setup/debian-packages.json");
  const rows = JSON.parse(readFileSync(path, "utf8")) as readonly PackageRow[];
  return markdownTable(
    ["package", "needed by", "what for"],
    rows.map((row) => [`\`${row.package}\``, row.for.join(", "), row.why]),
  );
}
