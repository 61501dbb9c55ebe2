/**
 * The host's public face. What a command line needs to parse and print is loaded with it; what runs
 * a host (and with it the native libraries) only when one is started.
 */
import type { DevClusterOptions } from "./dev/dev-cluster.ts";
import type { DevHostOptions } from "./dev/dev-host.ts";
import type { RunHostOptions } from "./run-host.ts";
import type { InitOptions, JoinOptions, SetUp } from "./certificates/set-up-host.ts";

export type { Command, CommandOption, Example } from "./command.ts";
export { errorCodes } from "./api/error-codes.ts";
export type { ErrorCode } from "./api/error-code.ts";
export { hostConfigShape } from "./host-config.ts";
export { optionUsage, requiredOptions } from "./command-usage.ts";
export { nearest } from "./nearest.ts";
export { operationNames, operationRow, operations } from "./api/operations.ts";
export type {
  Operation,
  OperationName,
  OperationTable,
  OperationTypes,
  RequestOf,
  ResponseOf,
} from "./api/operations.ts";
export { healthChecks } from "./health/health.ts";
export {
  checksTable,
  commandsTable,
  configTable,
  errorsTable,
  requestsTable,
} from "./api/docs-tables.ts";
export type { DocsTable } from "./api/docs-tables.ts";
export { processCommands } from "./process-commands.ts";
export type { ProcessCommandName } from "./process-commands.ts";
export { anyShape, shapeProblems } from "./api/shape.ts";
export type { AnyField, AnyObjectShape, AnyShape, ObjectShape } from "./api/shape.ts";
export { version } from "./version.ts";
export type { SetUp, SetUpOptions } from "./certificates/set-up-host.ts";
export type * from "./certificates/certificate-views.ts";
export type * from "./upkeep/upgrade-views.ts";
export type * from "./keys/key-views.ts";
export type * from "./volumes/nbd-client-views.ts";
export type * from "./upkeep/repair-views.ts";
export type * from "./volumes/snapshot-views.ts";
export type * from "./api/views.ts";

export async function runHost(options: RunHostOptions): Promise<number> {
  return await (await import("./run-host.ts")).runHost(options);
}

export async function runDevHost(options: DevHostOptions): Promise<number> {
  return await (await import("./dev/dev-host.ts")).runDevHost(options);
}

export async function runDevCluster(options: DevClusterOptions): Promise<number> {
  const loaded = await import("./dev/run-dev-cluster.ts");
  return await loaded.runDevCluster(options);
}

export async function tellDevCluster(dir: string | undefined, command: string): Promise<void> {
  const loaded = await import("./dev/run-dev-cluster.ts");
  await loaded.tellDevCluster(dir, command);
}

export async function initCluster(options: InitOptions): Promise<SetUp> {
  return (await import("./certificates/set-up-host.ts")).initCluster(options);
}

export async function joinCluster(options: JoinOptions): Promise<SetUp> {
  return await (await import("./certificates/set-up-host.ts")).joinCluster(options);
}
export type { WhatIfMachine, WhatIfView } from "./upkeep/what-if-shapes.ts";
