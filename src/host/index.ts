/**
 * The host's public face. What a command line needs to parse and print is loaded with it; what runs
 * a host (and with it the native libraries) only when one is started.
 */
import type { DevClusterOptions } from "./dev-cluster.ts";
import type { DevHostOptions } from "./dev-host.ts";
import type { RunHostOptions } from "./run-host.ts";
import type { InitOptions, JoinOptions, SetUp } from "./set-up-host.ts";

export type { Command, CommandOption, Example } from "./command.ts";
export { errorCodes } from "./error-codes.ts";
export type { ErrorCode } from "./error-code.ts";
export { hostConfigShape } from "./host-config.ts";
export { optionUsage, requiredOptions } from "./command-usage.ts";
export { nearest } from "./nearest.ts";
export { operationNames, operationRow, operations } from "./operations.ts";
export type {
  Operation,
  OperationName,
  OperationTable,
  OperationTypes,
  RequestOf,
  ResponseOf,
} from "./operations.ts";
export { healthChecks } from "./health.ts";
export {
  checksTable,
  commandsTable,
  configTable,
  errorsTable,
  requestsTable,
} from "./docs-tables.ts";
export type { DocsTable } from "./docs-tables.ts";
export { processCommands } from "./process-commands.ts";
export type { ProcessCommandName } from "./process-commands.ts";
export { anyShape, shapeProblems } from "./shape.ts";
export type { AnyField, AnyObjectShape, AnyShape, ObjectShape } from "./shape.ts";
export { version } from "./version.ts";
export type { SetUp, SetUpOptions } from "./set-up-host.ts";
export type * from "./certificate-views.ts";
export type * from "./upgrade-views.ts";
export type * from "./key-views.ts";
export type * from "./nbd-client-views.ts";
export type * from "./repair-views.ts";
export type * from "./snapshot-views.ts";
export type * from "./views.ts";

export async function runHost(options: RunHostOptions): Promise<number> {
  return await (await import("./run-host.ts")).runHost(options);
}

export async function runDevHost(options: DevHostOptions): Promise<number> {
  return await (await import("./dev-host.ts")).runDevHost(options);
}

export async function runDevCluster(options: DevClusterOptions): Promise<number> {
  const loaded = await import("./run-dev-cluster.ts");
  return await loaded.runDevCluster(options);
}

export async function tellDevCluster(dir: string | undefined, command: string): Promise<void> {
  const loaded = await import("./run-dev-cluster.ts");
  await loaded.tellDevCluster(dir, command);
}

export async function initCluster(options: InitOptions): Promise<SetUp> {
  return (await import("./set-up-host.ts")).initCluster(options);
}

export async function joinCluster(options: JoinOptions): Promise<SetUp> {
  return await (await import("./set-up-host.ts")).joinCluster(options);
}
export type { WhatIfMachine, WhatIfView } from "./what-if-shapes.ts";
