/**
 * The `drystone` command. Exit codes: 0 done, 1 refused or failed, 2 the command line cannot be
 * understood. Data on stdout, messages on stderr.
 */
import { createInterface } from "node:readline/promises";
import { CodedError, errorText } from "../base/index.ts";
import {
  operations,
  runDevCluster,
  runDevHost,
  runHost,
  tellDevCluster,
  version,
} from "../host/index.ts";
import type { EventView, OperationName, ProcessCommandName } from "../host/index.ts";
import { ApiClient } from "./api-client.ts";
import { API_URL_DEFAULT, parseCommandLine, usageError } from "./command-line.ts";
import type { Invocation } from "./command-line.ts";
import { helpText } from "./help.ts";
import { byOptions } from "./by-options.ts";
import { processOutput, reportFault } from "./output.ts";
import type { Output } from "./output.ts";
import { followConsole, interactConsole } from "./follow-console.ts";
import { runInit, runJoin } from "./set-up.ts";
import { writeSupportBundle } from "./support-bundle.ts";
import { followedLine, render } from "./render.ts";
import { exportVolume } from "./volume-export.ts";
import { importVolume } from "./volume-import.ts";

const DEV_HOSTS_DEFAULT = 3;
const DEV_ETCD = "For example: drystone dev --hosts 3 --directory etcd";

type Started = Extract<Invocation, { kind: "process" }>;
type Asked = Extract<Invocation, { kind: "operation" }>;

async function run(argv: readonly string[], output: Output): Promise<number> {
  const invocation = parseCommandLine(argv, process.cwd());
  switch (invocation.kind) {
    case "help":
      output.data(helpText(invocation.words));
      return 0;
    case "version":
      output.data(output.isJson ? `${JSON.stringify({ version })}\n` : `drystone ${version}\n`);
      return 0;
    case "process":
      return runProcess(invocation, output);
    case "operation":
      return runOperation(invocation, output);
  }
}

async function runProcess(started: Started, output: Output): Promise<number> {
  const { name, request, global } = started;
  const { isJson } = output;
  if (name === "dev") return runDev(request, isJson);
  if (name === "init") return runInit(request, output);
  if (name === "join") return runJoin(request, output);
  if (name === "support-bundle") {
    const file = request["output"];
    const path = typeof file === "string" ? file : undefined;
    return writeSupportBundle(clientOf(global.api), path, output);
  }
  if (name === "volume.export" || name === "volume.import")
    return carryVolume(name, clientOf(global.api), request, output);
  if (name !== "host.run") return tellDev(name, request, output);
  const { config, wipe } = request;
  return runHost({
    config: String(config),
    wipe: Array.isArray(wipe) ? wipe.map(String) : [],
    isJson,
  });
}

function carryVolume(
  name: "volume.export" | "volume.import",
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<number> {
  const said = (field: string): string | undefined => {
    const value = request[field];
    return typeof value === "string" ? value : undefined;
  };
  const volume = said("name") ?? "";
  if (name === "volume.export") {
    const [snapshot, since] = [said("snapshot"), said("since")];
    return exportVolume(client, { name: volume, snapshot, since, output: said("output") }, output);
  }
  const { failuresToTolerate } = request;
  return importVolume(
    client,
    {
      name: volume,
      input: said("input"),
      base: said("base"),
      failuresToTolerate: typeof failuresToTolerate === "number" ? failuresToTolerate : undefined,
      encrypted: request["encrypted"] === true,
      keyDomain: said("keyDomain"),
    },
    output,
  );
}

function runDev(request: Readonly<Record<string, unknown>>, isJson: boolean): Promise<number> {
  const { hosts = DEV_HOSTS_DEFAULT } = request;
  const { directory = "embedded", ...rest } = request;
  if (directory !== "embedded" && directory !== "etcd")
    throw usageError(`--directory is embedded or etcd, not ${String(directory)}`, DEV_ETCD);
  if (hosts === 1 && directory === "etcd")
    throw usageError("a host that is alone keeps its own directory", DEV_ETCD);
  if (hosts === 1) return runDevHost({ ...rest, isJson });
  return runDevCluster({ ...rest, directory, hosts: Number(hosts), isJson });
}

async function tellDev(
  name: ProcessCommandName,
  request: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<number> {
  const { dir, processOnly } = request;
  const word = name.slice("dev.".length);
  const [arguments_, said] = devArguments(request);
  const line = [processOnly === true ? `${word}-process` : word, ...arguments_].join(" ");
  await tellDevCluster(typeof dir === "string" ? dir : undefined, line);
  output.data(output.isJson ? `${JSON.stringify({ done: true })}\n` : `${said}${word} done\n`);
  return 0;
}

/** What the development cluster is told, and what the user is told first. */
function devArguments({
  name,
  hosts,
  network = "both",
}: Readonly<Record<string, unknown>>): readonly [readonly string[], string] {
  if (typeof name === "string") return [[name], `${name}: `];
  if (!Array.isArray(hosts)) return [[], ""];
  // Both `h1 h2` and `h1,h2`.
  const names = hosts.flatMap((text) => String(text).split(","));
  return [[String(network), ...names], `${names.join(", ")}: `];
}

async function runOperation(asked: Asked, output: Output): Promise<number> {
  const client = clientOf(asked.global.api);
  if (!(await isConfirmed(asked, output))) {
    output.message("drystone: nothing was done\n");
    return 1;
  }
  if (asked.name === "events" && asked.request["follow"] === true) {
    return followEvents(client, asked.request, output);
  }
  if (asked.name === "vm.console" && asked.request["interactive"] === true) {
    await interactConsole(client, asked.request, output, process.stdin);
    return 0;
  }
  if (asked.name === "vm.console" && asked.request["follow"] === true) {
    return followConsole(client, asked.request, output);
  }
  const answer = await client.call(asked.name, asked.request).catch((error: unknown) => {
    throw byOptions(operations[asked.name], error);
  });
  output.data(output.isJson ? `${JSON.stringify(answer)}\n` : render(asked.name, answer, output));
  return 0;
}

function clientOf(given: string | undefined): ApiClient {
  const api = given ?? process.env["DRYSTONE_API"] ?? "";
  return new ApiClient(api === "" ? API_URL_DEFAULT : api);
}

async function followEvents(
  client: ApiClient,
  request: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<number> {
  await client.follow(request, (text) => {
    if (output.isJson) output.data(`${text}\n`);
    else output.data(`${followedLine(JSON.parse(text) as EventView, output)}\n`);
  });
  throw new CodedError({
    code: "connection-failed",
    message: "the host ended the stream of events",
    hint: "It is stopping; follow again when it runs",
  });
}

/** Asks for the name before a dangerous operation, on a terminal and without --yes. */
async function isConfirmed(asked: Asked, output: Output): Promise<boolean> {
  const { danger, positionals } = operations[asked.name satisfies OperationName];
  if (danger === undefined || asked.global.yes || output.isJson) return true;
  if (!process.stdin.isTTY || !process.stderr.isTTY) return true;
  const name = String(asked.request[positionals[0] ?? "name"]);
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const question = `${danger.replace("NAME", name)}.\nType the name to go on: `;
    return (await prompt.question(question)) === name;
  } finally {
    prompt.close();
  }
}

async function main(argv: readonly string[]): Promise<void> {
  const output = processOutput(argv.includes("--json"));
  // The reader of a pipe has seen enough, as in `drystone events | head -1`.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    const message = `standard output cannot be written: ${error.message}`;
    output.message(`drystone: ${message}. What was asked for may have been done\n`);
    process.exit(1);
  });
  try {
    process.exitCode = await run(argv, output);
  } catch (error) {
    const isCoded = error instanceof CodedError;
    if (!isCoded && error instanceof Error) output.message(`${error.stack ?? error.message}\n`);
    const hint = "Report it with the lines above";
    reportFault(
      output,
      isCoded ? error.fault : { code: "bug", message: `a bug: ${errorText(error)}`, hint },
    );
    process.exitCode = isCoded && error.code === "usage" ? 2 : 1;
  }
}

await main(process.argv.slice(2));
