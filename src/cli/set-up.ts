/** `drystone init` and `drystone join`: what was made, and what to do next. */
import { escapeControls, shellWord } from "../base/index.ts";
import { initCluster, joinCluster } from "../host/index.ts";
import type { SetUp, SetUpOptions } from "../host/index.ts";
import { usageError } from "./command-line.ts";
import type { Output } from "./output.ts";

type Request = Readonly<Record<string, unknown>>;

const INIT_EXAMPLE = "For example: drystone init --address 10.0.0.1 --device /dev/sdb";
const JOIN_EXAMPLE =
  "For example: drystone join 10.0.0.1:7400 --token TOKEN --address 10.0.0.2 --device /dev/sdb";

export async function runInit(request: Request, output: Output): Promise<number> {
  const { directory } = request;
  const made = await initCluster({
    ...optionsOf("init", request, INIT_EXAMPLE),
    ...(typeof directory === "string" ? { directory } : {}),
  });
  const warning =
    directory === undefined
      ? "  this host keeps the directory: while it is away nothing new is decided\n"
      : directory === "etcd"
        ? "  the first three hosts keep the directory, from the third one on\n"
        : "";
  report(output, made, [
    `made the cluster ${made.clusterId}, and host ${made.name} as its first one\n${warning}`,
    "  keep a copy of tls/ca.key in a safe place: with it hosts are let in\n",
    `  keep a copy of ${made.keyFile}, too: without it encrypted volumes are lost\n`,
    `  next: drystone host run --config ${shellWord(made.config)}\n`,
    `  then, for each other host: drystone --api ${shellWord(`unix:${made.socket}`)} token create\n`,
  ]);
  return 0;
}

export async function runJoin(request: Request, output: Output): Promise<number> {
  const { cluster, token } = request;
  if (typeof token !== "string") throw usageError("drystone join needs --token", JOIN_EXAMPLE);
  const options = optionsOf("join", request, JOIN_EXAMPLE);
  const made = await joinCluster({ ...options, cluster: String(cluster), token });
  report(output, made, [
    `host ${made.name} belongs to the cluster ${made.clusterId}\n`,
    `  next: drystone host run --config ${shellWord(made.config)}\n`,
    `  then: drystone --api ${shellWord(`unix:${made.socket}`)} host list\n`,
  ]);
  return 0;
}

function optionsOf(command: string, request: Request, example: string): SetUpOptions {
  const { address, devices, name, dir, port, storageAddress, faultDomain } = request;
  const { deviceSizeBytes, keyFile } = request;
  if (typeof address !== "string") throw usageError(`drystone ${command} needs --address`, example);
  if (!Array.isArray(devices)) throw usageError(`drystone ${command} needs --device`, example);
  return {
    address,
    devices: devices.map(String),
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof dir === "string" ? { dir } : {}),
    ...(typeof port === "number" ? { port } : {}),
    ...(typeof storageAddress === "string" ? { storageAddress } : {}),
    ...(typeof faultDomain === "string" ? { faultDomain } : {}),
    ...(typeof deviceSizeBytes === "number" ? { deviceSizeBytes } : {}),
    ...(typeof keyFile === "string" ? { keyFile } : {}),
  };
}

function report(output: Output, made: SetUp, lines: readonly string[]): void {
  output.data(output.isJson ? `${JSON.stringify(made)}\n` : escapeControls(lines.join(""), "\n"));
}
