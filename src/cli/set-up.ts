/** `drystone init` and `drystone join`: what was made, and what to do next. */
import { escapeControls, shellWord } from "../base/index.ts";
import { initCluster, joinCluster } from "../host/index.ts";
import type { SetUp, SetUpOptions } from "../host/index.ts";
import type { Output } from "./output.ts";

type Request = Readonly<Record<string, unknown>>;

export async function runInit(request: Request, output: Output): Promise<number> {
  const { directory } = request;
  const made = await initCluster({
    ...optionsOf(request),
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
  const options = { ...optionsOf(request), cluster: String(cluster), token: String(token) };
  const made = await joinCluster(options);
  report(output, made, [
    `host ${made.name} belongs to the cluster ${made.clusterId}\n`,
    `  next: drystone host run --config ${shellWord(made.config)}\n`,
    `  then: drystone --api ${shellWord(`unix:${made.socket}`)} host list\n`,
  ]);
  return 0;
}

function optionsOf(request: Request): SetUpOptions {
  const { address, devices, name, dir, port, storageAddress, faultDomain } = request;
  const { deviceSizeBytes, keyFile } = request;
  return {
    address: String(address),
    devices: Array.isArray(devices) ? devices.map(String) : [],
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
