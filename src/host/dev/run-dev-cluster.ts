/** `drystone dev` with several hosts, in the foreground, and the commands that speak to it. */
import { connect } from "node:net";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { CodedError, errorText, shellWord } from "../../base/index.ts";
import { DevCluster } from "./dev-cluster.ts";
import type { DevClusterOptions } from "./dev-cluster.ts";
import { runTour } from "./dev-tour.ts";
import { isRecord } from "../api/shape.ts";

const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
const DIR_DEFAULT = ".drystone-dev";

export async function runDevCluster(options: DevClusterOptions): Promise<number> {
  const message = (text: string): void => {
    if (!options.isJson) process.stderr.write(`drystone: ${text}\n`);
  };
  const stopped = new Promise<void>((done) => {
    for (const signal of STOP_SIGNALS) process.once(signal, () => done());
  });
  const cluster = new DevCluster(options);
  try {
    await cluster.start(message);
    if (options.tour === true) {
      await Promise.race([tour(cluster), stopped]);
      return 0;
    }
    process.stdout.write(options.isJson ? readyLine(cluster) : readyText(cluster));
    await stopped;
    message("stopping");
  } finally {
    await cluster.close();
  }
  return 0;
}

async function tour(cluster: DevCluster): Promise<void> {
  await runTour({
    hosts: cluster.hosts,
    say: (line) => void process.stdout.write(`${line}\n`),
    kill: (name) => cluster.endHost(cluster.host(name), "SIGKILL", true),
    start: (name) => cluster.startHost(cluster.host(name)),
    cutStorage: (name) => cluster.partition("storage", [name]),
    heal: () => cluster.heal(),
  });
  process.stdout.write("Every claim held.\n");
}

function readyLine(cluster: DevCluster): string {
  const hosts = cluster.hosts.map(({ name, api, child }) => ({ name, api, pid: child?.pid }));
  const { folder: dir, demoUri: uri } = cluster;
  return `${JSON.stringify({ ready: true, dir, hosts, ...(uri === undefined ? {} : { uri }) })}\n`;
}

function readyText(cluster: DevCluster): string {
  const hosts = cluster.hosts.map(({ name, api }) => `  ${name}  API ${api}\n`).join("");
  const { folder, demoUri, hasGuest } = cluster;
  const demo = demoUri === undefined ? "" : demoText(demoUri, cluster.hosts[1]?.api ?? "");
  return `
Drystone is ready: ${cluster.hosts.length} hosts, everything in ${folder}
${hosts}${demo}${hasGuest ? GUEST_TEXT : ""}
Ctrl-C stops all of it; what is written stays. Logs: host.log in each host's folder.
`;
}

function demoText(uri: string, otherApi: string): string {
  const load = "--rw=randrw --bs=4k --iodepth=32 --size=256M --verify=crc32c";
  return `
Volume demo has two copies and is at ${uri}
It stays there while hosts die. In another terminal:

  fio --name=demo --ioengine=nbd --uri=${shellWord(uri)} ${load}
  bin/drystone dev kill h1
  bin/drystone volume show demo --api ${otherApi}
  bin/drystone dev start h1
`;
}

const GUEST_TEXT = `
Virtual machine guest counts on a volume with two copies. See it, then take the power of its host:

  bin/drystone vm console guest --follow
  bin/drystone vm show guest
  bin/drystone dev kill h1        (or whichever host runs it)

It is started on another host and counts on; dev start brings the host back.
\`npm start -- --tour\` shows all of this by itself.
`;

/** Tells the development cluster of a folder to do something. Fails as it does. */
export async function tellDevCluster(dir: string | undefined, command: string): Promise<void> {
  const socket = join(resolve(dir ?? DIR_DEFAULT), "control.sock");
  if (!existsSync(socket)) throw notRunning(socket);
  const answer = await ask(socket, command);
  const said: unknown = JSON.parse(answer);
  const fault = isRecord(said) ? said["error"] : undefined;
  if (!isRecord(fault)) return;
  const { code, message, hint } = fault;
  throw new CodedError({
    code: typeof code === "string" ? code : "internal",
    message: typeof message === "string" ? message : "the development cluster refuses",
    ...(typeof hint === "string" ? { hint } : {}),
  });
}

function ask(socket: string, command: string): Promise<string> {
  return new Promise((done, fail) => {
    const stream = connect(socket, () => stream.write(`${command}\n`));
    let said = "";
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => (said += text));
    stream.once("error", (error) => fail(notRunning(socket, error)));
    stream.once("end", () => {
      if (said === "") fail(notRunning(socket));
      else done(said);
    });
  });
}

function notRunning(socket: string, cause?: Error): CodedError {
  const why = cause === undefined ? "" : `: ${errorText(cause)}`;
  return new CodedError({
    code: "cluster-runs-not",
    message: `no development cluster listens at ${socket}${why}`,
    hint: "Start one with drystone dev --hosts 3, or give its folder with --dir",
  });
}
