/** A host on each of some machines, members of etcd, and a client machine. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { tlsPaths, writeTlsFolder } from "../../src/host/certificates/tls-folder.ts";
import { makeAuthority } from "../../src/platform/index.ts";
import { temporaryFolder } from "./harness.ts";
import { Namespaces } from "./namespaces.ts";
import type { NbdAddress } from "./nbd-client.ts";
import type { PacedLoad } from "./paced-load.ts";
import { Program, runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const RELAY = fileURLToPath(new URL("relay-process.js", import.meta.url));
const CLUSTER_ID = "00112233445566778899aabbccddeeff";
const WAIT_MS_MAX = 60_000;
/** A client counts as served when it has waited for nothing longer than this. */
const CALM_MS = 300;
const WORDS_LINES = 8;

interface VolumeShown {
  readonly components: readonly {
    readonly componentId: string;
    readonly host: string;
    readonly state: string;
  }[];
  readonly attachment?: { readonly host: string; readonly state: string };
  readonly tree: TreeShown;
}

interface TreeShown {
  readonly kind: string;
  readonly componentId?: string;
  readonly children?: readonly TreeShown[];
}

export interface MachineClusterOptions {
  readonly hostCount: number;
  /** Members of etcd on the first machines; one alone is on the client's. */
  readonly etcdCount: number;
  /** A mirrored volume `demo`, and a relay to it on the client's machine. */
  readonly hasDemo: boolean;
}

const WITH_DEMO: MachineClusterOptions = { hostCount: 3, etcdCount: 3, hasDemo: true };

export class MachineCluster {
  readonly machines: Namespaces;
  readonly folder: string;
  /** Of the hosts' machines. */
  readonly numbers: readonly number[];
  readonly #options: MachineClusterOptions;
  readonly #hosts = new Map<number, Program>();
  readonly #members = new Map<number, Program>();
  readonly #others: Program[] = [];

  private constructor(machines: Namespaces, folder: string, options: MachineClusterOptions) {
    this.machines = machines;
    this.folder = folder;
    this.numbers = Array.from({ length: options.hostCount }, (_, i) => i + 1);
    this.#options = options;
  }

  /** Started. It goes with the test. */
  static async create(
    t: TestContext,
    options: MachineClusterOptions = WITH_DEMO,
  ): Promise<MachineCluster> {
    const machines = await Namespaces.create(options.hostCount + 1);
    const cluster = new MachineCluster(machines, temporaryFolder(t), options);
    t.after(() => cluster.#dispose());
    cluster.#makeCertificates();
    await Promise.all(cluster.#etcdMachines.map((machine) => cluster.startEtcd(machine)));
    await Promise.all(cluster.numbers.map((machine) => cluster.startHost(machine)));
    await cluster.#linked();
    if (options.hasDemo) {
      await cluster.#makeDemo();
      await cluster.#startRelay();
    }
    return cluster;
  }

  get #client(): number {
    return this.numbers.length + 1;
  }

  get #etcdMachines(): readonly number[] {
    const { etcdCount } = this.#options;
    return etcdCount === 1 ? [this.#client] : this.numbers.slice(0, etcdCount);
  }

  get demo(): NbdAddress {
    return { socket: path.join(this.folder, "demo.sock"), exportName: "demo" };
  }

  async startHost(machine: number): Promise<void> {
    const folder = path.join(this.folder, `h${machine}`);
    const file = path.join(folder, "host.json");
    fs.writeFileSync(file, JSON.stringify(this.#config(machine)));
    const args = [CLI, "host", "run", "--config", file, "--json"];
    const host = this.#spawn(`host ${machine}`, machine, process.execPath, args);
    this.#hosts.set(machine, host);
    await host.waitForLine(new RegExp(`"ready":true,"host":"h${machine}"`), WAIT_MS_MAX);
  }

  async killHost(machine: number): Promise<void> {
    await this.#hosts.get(machine)?.kill();
  }

  /** With all that runs on it. */
  async cutPower(machine: number): Promise<void> {
    for (const pid of this.#vmPids(machine)) process.kill(pid, "SIGKILL");
    await this.killHost(machine);
  }

  /** Where virtual machines of that host have their folders. */
  vmsFolder(machine: number): string {
    return path.join(this.folder, `h${machine}`, "state", "vms");
  }

  #vmPids(machine: number): readonly number[] {
    const folder = this.vmsFolder(machine);
    if (!fs.existsSync(folder)) return [];
    const files = fs.readdirSync(folder).map((vm) => path.join(folder, vm, "vm.json"));
    return files
      .filter((file) => fs.existsSync(file))
      .map((file) => (JSON.parse(fs.readFileSync(file, "utf8")) as { readonly pid: number }).pid)
      .filter((pid) => fs.existsSync(`/proc/${pid}/stat`));
  }

  signalHost(machine: number, signal: "SIGSTOP" | "SIGCONT"): void {
    const host = this.#hosts.get(machine);
    assert.ok(host !== undefined, "the host runs");
    process.kill(host.pid, signal);
  }

  /** The machine whose host serves the volume, once one does. */
  async serving(): Promise<number> {
    let host: string | undefined;
    await this.#until(async () => {
      const { attachment } = await this.#show();
      if (attachment?.state === "online") host = attachment.host;
      return host !== undefined;
    }, "nobody serves the volume");
    assert.ok(host !== undefined, "it was waited for");
    return machineOf(host);
  }

  async copies(): Promise<readonly number[]> {
    const { tree, components } = await this.#show();
    const ids = copyIds(tree);
    const copies = components.filter(({ componentId }) => ids.includes(componentId));
    return copies.map(({ host }) => machineOf(host));
  }

  async otherCopy(machine: number): Promise<number> {
    const other = (await this.copies()).find((copy) => copy !== machine);
    assert.ok(other !== undefined, "there are two copies");
    return other;
  }

  /** Waits until clients are served as if nothing had happened. */
  async settled(load: PacedLoad): Promise<void> {
    await this.#until(async () => {
      load.takeStallMs();
      await sleep(CALM_MS);
      return load.takeStallMs() < CALM_MS;
    }, "clients are not served");
  }

  /**
   * Waits until the cluster has noticed what happened to the machine, and clients are answered. The
   * longest wait is kept for `takeStallMs`.
   */
  async answering(load: PacedLoad, machine: number): Promise<void> {
    await this.#until(async () => {
      const shown = await this.#show(machine);
      const isMissed = shown.components.some(({ state }) => state !== "active");
      const hasMoved =
        shown.attachment?.state === "online" && shown.attachment.host !== `h${machine}`;
      return isMissed || hasMoved;
    }, `h${machine} is not missed`);
    await this.#until(async () => {
      await sleep(CALM_MS);
      return load.waitingMs() < CALM_MS;
    }, "clients are not answered");
  }

  /** Waits until another host sees the machine's so. */
  async untilSeen(machine: number, state: string): Promise<void> {
    const asked = (machine % this.numbers.length) + 1;
    await this.#until(async () => {
      const { hosts } = await this.cli<{
        readonly hosts: readonly { readonly name: string; readonly state: string }[];
      }>(asked, ["host", "list"]);
      return hosts.some(({ name, state: seen }) => name === `h${machine}` && seen === state);
    }, `h${machine} is not ${state}`);
  }

  /** Every copy is active again, which is after its digests were found equal. */
  async untilWhole(): Promise<void> {
    await this.#until(async () => {
      const { components, attachment } = await this.#show();
      return attachment?.state === "online" && components.every(({ state }) => state === "active");
    }, "it does not become whole");
  }

  #makeCertificates(): void {
    const nowMs = Date.now();
    const authority = makeAuthority(CLUSTER_ID, nowMs);
    for (const machine of [...this.numbers, this.#client]) {
      const addresses = [this.#management(machine), this.machines.address(machine, "storage")];
      const hostId = String(machine).repeat(32);
      writeTlsFolder(
        this.#tls(machine),
        authority,
        { clusterId: CLUSTER_ID, hostId, addresses },
        nowMs,
      );
    }
  }

  #tls(machine: number): string {
    return path.join(this.folder, `h${machine}`, "tls");
  }

  #config(machine: number): object {
    const endpoints = this.#etcdMachines.map((one) => `https://${this.#management(one)}:2379`);
    return {
      name: `h${machine}`,
      stateDir: "state",
      apiAddress: `${this.#management(machine)}:7400`,
      devices: [{ path: "device", size: "2G" }],
      memory: "128M",
      bootFolders: ["../boot"],
      cluster: {
        id: CLUSTER_ID,
        directory: endpoints.join(","),
        storageAddress: `${this.machines.address(machine, "storage")}:7401`,
        managementAddress: `${this.#management(machine)}:7403`,
        tls: "tls",
      },
    };
  }

  #api(machine: number): string {
    return `https://${this.#management(machine)}:7400`;
  }

  /** What a client shows: the certificate of one of the hosts. */
  get #tlsVariable(): string {
    return `DRYSTONE_TLS=${this.#tls(1)}`;
  }

  #management(machine: number): string {
    return this.machines.address(machine, "management");
  }

  async killEtcd(machine: number): Promise<void> {
    await this.#members.get(machine)?.kill();
  }

  /** As it was left, if it has run before. */
  async startEtcd(machine: number): Promise<void> {
    const client = `https://${this.#management(machine)}:2379`;
    const peer = (one: number): string => `https://${this.#management(one)}:2380`;
    const initial = this.#etcdMachines.map((one) => `m${one}=${peer(one)}`).join(",");
    const { caPath, certificatePath, keyPath } = tlsPaths(this.#tls(machine));
    const tls = ["", "peer-"].flatMap((kind) => [
      ...[`--${kind}cert-file`, certificatePath, `--${kind}key-file`, keyPath],
      ...[`--${kind}trusted-ca-file`, caPath, `--${kind}client-cert-auth`],
    ]);
    const member = this.#spawn(`etcd ${machine}`, machine, "etcd", [
      ...["--name", `m${machine}`, "--data-dir", path.join(this.folder, `etcd${machine}`)],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer(machine), "--initial-advertise-peer-urls", peer(machine)],
      ...["--initial-cluster", initial, "--logger", "zap", "--log-outputs", "stderr"],
      ...tls,
    ]);
    this.#members.set(machine, member);
    await member.waitForLine(/serving (?:insecure )?client (?:requests|traffic)/i);
  }

  async #linked(): Promise<void> {
    await this.#until(async () => {
      const { hosts } = await this.cli<{ hosts: readonly { state: string }[] }>(1, [
        ...["host", "list"],
      ]);
      return hosts.filter(({ state }) => state === "up").length === this.numbers.length;
    }, "hosts do not find each other");
  }

  async #makeDemo(): Promise<void> {
    await this.cli(1, [
      ...["volume", "create", "demo", "--size", "64M", "--failures-to-tolerate", "1"],
    ]);
  }

  async #startRelay(): Promise<void> {
    const hosts = this.numbers.map((machine) => {
      const socket = path.join(this.folder, `h${machine}`, "demo.sock");
      return `${this.#api(machine)}=${socket}`;
    });
    const args = [this.#tlsVariable, process.execPath, RELAY, this.demo.socket, ...hosts];
    const relay = this.#spawn("relay", this.#client, "env", args);
    this.#others.push(relay);
    await relay.waitForLine(/^ready$/, WAIT_MS_MAX);
  }

  #spawn(name: string, machine: number, program: string, args: readonly string[]): Program {
    return new Program(name, "ip", this.machines.command(machine, program, args));
  }

  /** What a host says that is not `except`; of those that answer the first. */
  async #show(except?: number): Promise<VolumeShown> {
    let last: unknown;
    for (const machine of this.numbers) {
      if (machine === except || this.#hosts.get(machine)?.hasEnded !== false) continue;
      try {
        return await this.cli<VolumeShown>(machine, ["volume", "show", "demo"]);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  /** Asks the host of that machine, from the client's. */
  async cli<T>(machine: number, args: readonly string[]): Promise<T> {
    const line = [CLI, ...args, "--json", "--api", this.#api(machine)];
    const env = [this.#tlsVariable, process.execPath, ...line];
    const command = this.machines.command(this.#client, "env", env);
    return JSON.parse((await runTool("ip", command)).stdout) as T;
  }

  async #until(isSo: () => Promise<boolean>, otherwise: string): Promise<void> {
    const limit = performance.now() + WAIT_MS_MAX;
    while (!(await isSo()))
      if (performance.now() > limit) throw new Error(`${otherwise}\n${await this.#lastWords()}`);
  }

  async #lastWords(): Promise<string> {
    const programs = [...this.#hosts.values(), ...this.#members.values(), ...this.#others];
    const said = programs.map(({ name, transcript }) => {
      return `${name} said:\n${transcript.slice(-WORDS_LINES).join("\n")}`;
    });
    return [JSON.stringify(await this.#show()), ...said].join("\n");
  }

  async #dispose(): Promise<void> {
    for (const machine of this.numbers) await this.cutPower(machine);
    const others = [...this.#members.values(), ...this.#others];
    for (const program of others.toReversed()) await program.kill();
    await this.machines.dispose();
  }
}

function machineOf(host: string): number {
  return Number(host.slice(1));
}

function copyIds({ kind, componentId, children = [] }: TreeShown): readonly string[] {
  if (kind === "component" && componentId !== undefined) return [componentId];
  return children.flatMap(copyIds);
}
