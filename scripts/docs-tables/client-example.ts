import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";

/** The program that a test runs, so that what a reader copies works. */
export function clientExample(): string {
  const text = readFileSync(join(REPOSITORY, "examples/volume-client.mjs"), "utf8");
  return `\`\`\`js\n${text}\`\`\``;
}
