import { readFileSync } from "node:fs";
import { isRecord } from "./api/shape.ts";

/** Of this program, as package.json has it. */
export const version: string = readVersion();

function readVersion(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  const value: unknown = JSON.parse(text);
  const found = isRecord(value) ? value["version"] : undefined;
  return typeof found === "string" ? found : "unknown";
}
