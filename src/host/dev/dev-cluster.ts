/**
 * `drystone dev --hosts N`: a cluster on this machine. Each host is a process of its own with its
 * own folder; this process keeps the directory, starts and ends hosts as it is told, and offers the
 * volume `demo` at an address that stays good while hosts die: a relay that asks the hosts that
 * live to attach the volume.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createWriteStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { assert, assertDefined, CodedError, errorText } from "../../base/index.ts";
import { NbdServer, RelayVolume, SingleExport } from "../../frontend/index.ts";
import { JsonLog, NodeClock, StreamNetwork } from "../../platform/index.ts";
import type { Log } from "../../ports/index.ts";
import { callApi } from "../api/api-call.ts";
import { makeDevFolder } from "./dev-folder.ts";
import { DEV_CONTROL_VARIABLE } from "./dev-control.ts";
import type { CutMessage } from "./dev-control.ts";
import { DevCuts, isDevNetwork } from "./dev-cuts.ts";
import { locateDemo } from "./dev-demo.ts";
import { DevCertificates } from "./dev-certificates.ts";
import { devKeyFile } from "./dev-keys.ts";
import { listenForOrders } from "./dev-orders.ts";
import { endMachines, guestFilesIn, makeGuest } from "./dev-guest.ts";
import type { GuestFiles } from "./dev-guest.ts";
import { DirectoryGate, startDevDirectory } from "./dev-directory.ts";
import type { DevDirectoryKind } from "./dev-directory.ts";
import { nbdUri, parseAddress } from "../names.ts";
import { BOOT_FOLDERS_DEFAULT } from "../host-config.ts";
import { newId } from "../state-dir.ts";

const CLI = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const HOST = "127.0.0.1";
const API_PORT_DEFAULT = 7400;
const DIR_DEFAULT = ".drystone-dev";
const DEMO_SIZE_BYTES = 10 * 2 ** 30;
const DEVICE_SIZE_DEFAULT = 64 * 2 ** 30;
/** Of three hosts and what they keep: small, so that they fit on a laptop. */
const MEMORY = "128M";
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 40_000;
const RELAY_RETRY_MS = 100;
const HOSTS_MAX = 16;

export interface DevClusterOptions {
  readonly hosts: number;
  readonly dir?: string;
  readonly apiPort?: number;
  readonly deviceSizeBytes?: number;
  readonly directory: DevDirectoryKind;
  readonly isJson: boolean;
  /** A folder with the kernel and the initramfs of the machine `guest`. */
  readonly guest?: string;
  /** Show what happens when the host under the machine dies, then stop. */
  readonly tour?: boolean;
}

interface DevHost {
  readonly name: string;
  readonly api: string;
  readonly folder: string;
  readonly socket: string;
  readonly storageAddress: string;
  readonly managementAddress: string;
  child: ChildProcess | undefined;
  gate: DirectoryGate | undefined;
}

export class DevCluster {
  readonly folder: string;
  readonly hosts: readonly DevHost[];
  readonly #options: DevClusterOptions;
  readonly #log: Log;
  readonly #clock = new NodeClock();
  readonly #network = new StreamNetwork();
  readonly #closers: (() => Promise<void>)[] = [];
  readonly #cuts = new DevCuts();
  #isStopping = false;
  readonly #guest: GuestFiles | undefined;
  #hasDemo = false;

  constructor(options: DevClusterOptions) {
    checkOptions(options);
    this.#guest = options.guest === undefined ? undefined : guestFilesIn(resolve(options.guest));
    this.#options = options;
    this.folder = resolve(options.dir ?? DIR_DEFAULT);
    const port = options.apiPort ?? API_PORT_DEFAULT;
    this.hosts = Array.from({ length: options.hosts }, (_, index) => {
      const name = `h${index + 1}`;
      const folder = join(this.folder, name);
      const api = `http://${HOST}:${port + index}`;
      const addresses = {
        storageAddress: `${HOST}:${port + 20 + index}`,
        managementAddress: `${HOST}:${port + 100 + index}`,
      };
      const socket = join(folder, "demo.sock");
      return { name, api, folder, socket, ...addresses, child: undefined, gate: undefined };
    });
    // A path that is too long for a socket is refused before anything is made.
    for (const { socket } of this.hosts) parseAddress(socket);
    makeDevFolder(this.folder, "");
    const stream = createWriteStream(join(this.folder, "cluster.log"), { flags: "a" });
    this.#log = new JsonLog(stream);
  }

  get demoSocket(): string {
    return join(this.folder, "demo.sock");
  }

  /** Where the volume `demo` is, if the cluster has one. */
  get demoUri(): string | undefined {
    return this.#hasDemo ? nbdUri({ kind: "unix", path: this.demoSocket }, "demo") : undefined;
  }

  get hasGuest(): boolean {
    return this.#guest !== undefined;
  }

  get controlSocket(): string {
    return join(this.folder, "control.sock");
  }

  /** Resolves when all hosts serve and the volume is offered. */
  async start(message: (text: string) => void): Promise<void> {
    const clusterId = this.#clusterId();
    message("starting the directory");
    await this.#startDirectory(clusterId);
    message(`starting ${this.hosts.length} hosts`);
    for (const host of this.hosts) this.#closers.push(() => this.#closeHost(host));
    await Promise.all(this.hosts.map((host) => this.startHost(host)));
    const orders = await listenForOrders(this.#network, this.controlSocket, (order) =>
      this.#obey(order),
    );
    this.#closers.push(() => orders.close());
    if (this.hosts.length >= 3) {
      message("making the volume demo");
      await this.#makeDemo();
      await this.#startRelay();
      if (this.#guest !== undefined) {
        message("starting the virtual machine guest");
        await makeGuest(assertDefined(this.hosts[0], "a host").api, this.folder, this.#guest);
      }
    }
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    // All at once: while some are up they would start the machines of those that are down.
    for (const { child } of this.hosts) child?.kill("SIGTERM");
    for (const close of this.#closers.splice(0).toReversed()) {
      try {
        await close();
      } catch (error) {
        this.#log.write("error", `closing failed: ${errorText(error)}`);
      }
    }
  }

  /** The same on every start, so that hosts find their cluster again. */
  #clusterId(): string {
    const file = join(this.folder, "cluster-id");
    if (!existsSync(file)) writeFileSync(file, newId());
    return readFileSync(file, "utf8").trim();
  }

  async #startDirectory(clusterId: string): Promise<void> {
    const { directory: kind } = this.#options;
    const certificates = new DevCertificates(this.folder, clusterId, this.#clock);
    const port = this.#options.apiPort ?? API_PORT_DEFAULT;
    const targets = await startDevDirectory({
      kind,
      folder: this.folder,
      clusterId,
      certificates,
      firstPort: port + 40,
      clock: this.#clock,
      log: this.#log,
      closers: this.#closers,
    });
    for (const [index, host] of this.hosts.entries()) {
      const firstPort = port + 50 + index * targets.length;
      host.gate = await DirectoryGate.open(targets, firstPort, this.#closers);
      const gates = targets.map((_, target) => `${HOST}:${firstPort + target}`);
      const isEtcd = kind === "etcd";
      const directory = isEtcd ? gates.map((gate) => `https://${gate}`) : [`served:${gates[0]}`];
      this.#configure(host, {
        id: clusterId,
        directory: directory.join(","),
        storageAddress: host.storageAddress,
        managementAddress: host.managementAddress,
        tls: certificates.ofHost(host.folder),
      });
    }
  }

  #configure(host: DevHost, cluster: Readonly<Record<string, string>>): void {
    makeDevFolder(host.folder, "");
    const index = this.hosts.indexOf(host);
    const port = this.#options.apiPort ?? API_PORT_DEFAULT;
    const config = {
      name: host.name,
      stateDir: "state",
      apiAddress: `${HOST}:${port + index}`,
      apiPlain: true,
      devices: [{ path: "device", size: `${this.#deviceMegabytes()}M` }],
      memory: MEMORY,
      keyFile: devKeyFile(this.folder, host.folder),
      bootFolders: this.#bootFolders(),
      cluster,
    };
    writeFileSync(join(host.folder, "host.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  }

  /** Not the cluster's folder itself: what other hosts keep secret is in there. */
  #bootFolders(): readonly string[] {
    const { guest } = this.#options;
    const own = [...BOOT_FOLDERS_DEFAULT, join(this.folder, "boot")];
    return guest === undefined ? own : [...own, resolve(guest)];
  }

  #deviceMegabytes(): number {
    return Math.floor((this.#options.deviceSizeBytes ?? DEVICE_SIZE_DEFAULT) / 2 ** 20);
  }

  host(name: string): DevHost {
    const found = this.hosts.find((host) => host.name === name);
    if (found !== undefined) return found;
    throw new CodedError({
      code: "host-unknown",
      message: `the development cluster has no host named ${name.slice(0, 40)}`,
      hint: `Its hosts are ${this.hosts.map((host) => host.name).join(", ")}`,
    });
  }

  /** Resolves when the host serves. */
  async startHost(host: DevHost): Promise<void> {
    if (host.child !== undefined)
      throw new CodedError({
        code: "host-runs",
        message: `${host.name} runs already`,
        hint: `drystone dev kill ${host.name} ends it`,
      });
    const config = join(host.folder, "host.json");
    const child = spawn(process.execPath, [CLI, "host", "run", "--config", config, "--json"], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, [DEV_CONTROL_VARIABLE]: "1" },
    });
    host.child = child;
    this.#sendCuts(host);
    const log = createWriteStream(join(host.folder, "host.log"), { flags: "a" });
    child.stderr?.pipe(log);
    child.once("exit", () => {
      host.child = undefined;
    });
    assert(child.stdout !== null, "a child's output is a pipe");
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((ready, reject) => {
      const timer = setTimeout(() => reject(slow(host)), READY_MS_MAX);
      lines.on("line", (line) => {
        if (!line.includes('"ready"')) return;
        clearTimeout(timer);
        ready();
      });
      child.once("exit", (code) => {
        clearTimeout(timer);
        reject(didNotStart(host, code));
      });
    });
    this.#log.write("info", "a host runs", { host: host.name, pid: child.pid });
  }

  /**
   * SIGKILL, or a clean stop. Resolves when the process is gone, and with `isPower` the machines
   * that it ran are, too.
   */
  async endHost(host: DevHost, signal: "SIGKILL" | "SIGTERM", isPower: boolean): Promise<void> {
    const { child } = host;
    if (child === undefined)
      throw new CodedError({
        code: "host-runs-not",
        message: `${host.name} does not run`,
        hint: `drystone dev start ${host.name} starts it`,
      });
    const ended = new Promise<void>((done) => void child.once("exit", () => done()));
    child.kill(signal);
    await ended;
    if (isPower) await endMachines(host.folder);
    this.#log.write("info", "a host has ended", { host: host.name, signal });
  }

  /** Whichever process it has by then. */
  async #closeHost(host: DevHost): Promise<void> {
    const { child } = host;
    if (child !== undefined) {
      const ended = new Promise<void>((done) => void child.once("exit", () => done()));
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await ended;
      clearTimeout(timer);
    }
    await endMachines(host.folder);
  }

  partition(network: string, names: readonly string[]): void {
    const hosts = names.map((name) => this.host(name).name);
    if (!isDevNetwork(network) || hosts.length === 0)
      throw new CodedError({
        code: "usage",
        message: `a partition has a network and hosts, not "${network} ${names.join(" ")}"`,
        hint: "For example: drystone dev partition --network storage h1",
      });
    this.#cuts.add(
      network,
      hosts,
      this.hosts.map(({ name }) => name),
    );
    this.#log.write("info", "hosts are cut off", { hosts: hosts.join(" "), network });
    this.#applyCuts();
  }

  heal(): void {
    this.#cuts.heal();
    this.#log.write("info", "all networks are whole again");
    this.#applyCuts();
  }

  #applyCuts(): void {
    for (const host of this.hosts) {
      host.gate?.setCut(this.#cuts.isWithoutDirectory(host.name));
      this.#sendCuts(host);
    }
  }

  #sendCuts({ name, child }: DevHost): void {
    const cut = this.hosts.flatMap((other) => [
      ...(this.#cuts.areApart(name, other.name, "storage") ? [other.storageAddress] : []),
      ...(this.#cuts.areApart(name, other.name, "management") ? [other.managementAddress] : []),
    ]);
    const message: CutMessage = { cut };
    // A host that has just ended is told at its next start.
    if (child?.connected === true) child.send(message, () => {});
  }

  /** Once: a user who has deleted the volume does not get it again. */
  async #makeDemo(): Promise<void> {
    const marker = join(this.folder, "demo-made");
    if (existsSync(marker)) return;
    const [first] = this.hosts;
    if (first === undefined) return;
    await untilLinked(first.api, this.hosts.length);
    const request = { name: "demo", sizeBytes: DEMO_SIZE_BYTES, failuresToTolerate: 1 };
    try {
      await callApi(first.api, "POST", "/v1/volumes", request);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "volume-exists") throw error;
    }
    writeFileSync(
      marker,
      "The volume demo was made once; remove this file to have it made again.\n",
    );
  }

  async #startRelay(): Promise<void> {
    const world = {
      clock: this.#clock,
      log: this.#log,
      locate: () => this.#demoAddress(),
      connect: (path: string) => this.#connectDemo(path),
    };
    const relay = await this.#untilServed(() => RelayVolume.open("demo", world));
    this.#closers.push(() => relay.close());
    const ports = { network: this.#network, clock: this.#clock, log: this.#log };
    const catalog = new SingleExport(relay.volume, "Drystone volume demo, wherever it is served");
    const server = await NbdServer.listen(ports, catalog, {
      address: { kind: "unix", path: this.demoSocket },
    });
    this.#closers.push(() => server.close(1000));
    this.#hasDemo = true;
  }

  /**
   * Hosts that have just started may be about to offer it again, and until then nobody else may.
   */
  async #untilServed<T>(open: () => Promise<T>): Promise<T> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      try {
        return await open();
      } catch (error) {
        if (!(error instanceof CodedError) || performance.now() > limit) throw error;
      }
      await new Promise((done) => setTimeout(done, RELAY_RETRY_MS));
    }
  }

  async #connectDemo(path: string): Promise<Awaited<ReturnType<StreamNetwork["connect"]>>> {
    if (this.#isStopping) throw new CodedError({ code: "stopping", message: "the cluster stops" });
    return await this.#network.connect({ kind: "unix", path });
  }

  #demoAddress(): Promise<string> {
    return locateDemo(this.hosts.filter((host) => host.child !== undefined));
  }

  async #obey(line: string): Promise<void> {
    const [word = "", name = "", ...names] = line.split(" ");
    if (word === "partition") this.partition(name, names);
    else if (word === "heal") this.heal();
    else if (word === "kill") await this.endHost(this.host(name), "SIGKILL", true);
    else if (word === "kill-process") await this.endHost(this.host(name), "SIGKILL", false);
    else if (word === "stop") await this.endHost(this.host(name), "SIGTERM", true);
    else if (word === "start") await this.startHost(this.host(name));
    else throw new CodedError({ code: "usage", message: `there is no command ${word}` });
  }
}

/** Hosts need a moment to find each other. */
async function untilLinked(api: string, count: number): Promise<void> {
  const limit = performance.now() + READY_MS_MAX;
  for (;;) {
    const { hosts } = (await callApi(api, "GET", "/v1/hosts")) as {
      readonly hosts: readonly { readonly state: string }[];
    };
    if (hosts.filter(({ state }) => state === "up").length === count) return;
    if (performance.now() > limit)
      throw new CodedError({
        code: "hosts-apart",
        message: `after ${READY_MS_MAX / 1000} s the hosts do not reach each other`,
        hint: "look into host.log of each host",
      });
    await new Promise((done) => setTimeout(done, 50));
  }
}

function checkOptions({ hosts, apiPort, guest, tour }: DevClusterOptions): void {
  if (tour === true && (guest === undefined || hosts < 3))
    throw new CodedError({
      code: "usage",
      message: "--tour shows a virtual machine that three hosts or more carry",
      hint: "npm start -- --tour, or give --guest FOLDER, too",
    });
  if (hosts < 1 || hosts > HOSTS_MAX)
    throw new CodedError({
      code: "usage",
      message: `a development cluster has 1 to ${HOSTS_MAX} hosts, not ${hosts}`,
      hint: "For example: drystone dev --hosts 3",
    });
  if (apiPort !== undefined && apiPort > 65_000)
    throw new CodedError({
      code: "usage",
      message: `--api-port is ${apiPort}, the most is 65000: the hosts need ports above it`,
      hint: `For example: --api-port ${API_PORT_DEFAULT}`,
    });
}

function slow(host: DevHost): CodedError {
  return new CodedError({
    code: "host-slow",
    message: `${host.name} was not ready after ${READY_MS_MAX / 1000} s`,
    hint: `Look into ${join(host.folder, "host.log")}`,
  });
}

function didNotStart(host: DevHost, code: number | null): CodedError {
  return new CodedError({
    code: "host-ended",
    message: `${host.name} ended with code ${code ?? "unknown"} before it was ready`,
    hint: `Look into ${join(host.folder, "host.log")}`,
  });
}
