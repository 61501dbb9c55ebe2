/**
 * The generated parts of docs/operating: the same rows that the API and the command line use, as
 * Markdown.
 */
import { errorCodes } from "./error-codes.ts";
import { healthChecks } from "../health/health.ts";
import { hostConfigShape } from "../host-config.ts";
import { operationNames, operationRow } from "./operations.ts";
import { processCommands } from "../process-commands.ts";
import { anyShape } from "./shape.ts";
import type { AnyField, AnyShape } from "./shape.ts";
import { optionUsage, requiredOptions } from "../command-usage.ts";
import type { Command } from "../command.ts";

export interface DocsTable {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Every command: what is typed, what the API calls it, who may run it. */
export function commandsTable(): DocsTable {
  const processes = Object.values(processCommands).map((command) => [
    code(usage(command)),
    command.summary,
    "starts a process",
    "",
  ]);
  const rows = operationNames.map((name) => {
    const row = operationRow(name);
    return [code(usage(row)), row.summary, code(`${row.method} ${row.path}`), row.role];
  });
  return { header: ["command", "what it does", "API", "role"], rows: [...processes, ...rows] };
}

/** Every check of health. */
export function checksTable(): DocsTable {
  const rows = healthChecks.map(({ id, severity, meaning, action }) => [
    code(id),
    severity,
    meaning,
    action,
  ]);
  return { header: ["check", "severity", "what it means", "what to do"], rows };
}

/** Every field of every request. */
export function requestsTable(): DocsTable {
  const rows = operationNames.flatMap((name) => {
    const row = operationRow(name);
    return Object.entries(anyShape(row.request).fields).map(([field, value]) => [
      code(name),
      ...fieldCells(field, value),
    ]);
  });
  return { header: ["operation", "field", "kind", "required", "meaning"], rows: rows };
}

/** Every field of the configuration file. */
export function configTable(): DocsTable {
  const { fields } = anyShape(hostConfigShape);
  const rows = Object.entries(fields).flatMap(([field, value]) => [
    fieldCells(field, value),
    ...nestedRows(field, value.shape),
  ]);
  return { header: ["field", "kind", "required", "meaning"], rows: rows };
}

export function errorsTable(): DocsTable {
  const rows = Object.entries(errorCodes).map(([name, { status, meaning, action }]) => [
    code(name),
    String(status),
    meaning,
    action,
  ]);
  return { header: ["code", "HTTP", "meaning", "next step"], rows: rows };
}

function nestedRows(field: string, shape: AnyShape): string[][] {
  if (shape.kind !== "list" || shape.of.kind !== "object") return [];
  return Object.entries(shape.of.fields).map(([inner, value]) =>
    fieldCells(`${field}[].${inner}`, value),
  );
}

function fieldCells(name: string, { optional, shape }: AnyField): string[] {
  const example =
    shape.example === undefined ? "" : ` (for example ${code(String(shape.example))})`;
  return [code(name), shape.kind, optional ? "no" : "yes", shape.description + example];
}

function usage(command: Command): string {
  const positionals = command.positionals.map((field) => field.toUpperCase());
  const required = requiredOptions(command);
  const options = command.options
    .filter((option) => !required.includes(option))
    .map((option) => `[${optionUsage(option)}]`);
  const words = [...command.words, ...positionals, ...required.map(optionUsage), ...options];
  return ["drystone", ...words].join(" ");
}

function code(text: string): string {
  return `\`${text}\``;
}
