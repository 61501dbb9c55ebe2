/**
 * Virtual machines as QEMU processes. Each has a folder with what was started, its process, its
 * console's output and its control socket, and lives on when this process ends: the next one finds
 * it by the folder. A process counts as the machine's only if its id and its start time agree, so
 * that nobody else's process is ever taken for it.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import type { Hypervisor, RunningVm, VmNetwork, VmStart } from "../ports/index.ts";
import { ConsoleLog } from "./console-log.ts";
import type { ConsoleText } from "./console-log.ts";
import { isKvmOfUse } from "./kvm-probe.ts";
import { MachineGuard } from "./machine-guard.ts";
import { identityOfProcess, isSameProcess, isStopped } from "./process-identity.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { requireWhole, sendMemory } from "./qemu-migration.ts";
import { QmpClient } from "./qmp-client.ts";

const READY_MS_MAX = 30_000;
const END_MS_MAX = 10_000;
const POLL_MS = 50;
const LOG_TAIL_CHARACTERS = 600;
/** Of a machine whose guest has not fed the watchdog. */
const HUNG = "watchdog";
/** "postmigrate": all its memory was sent elsewhere, and it may still go on here. */
const STILL: ReadonlySet<string> = new Set(["paused", "postmigrate", "finish-migrate"]);

export interface QemuOptions {
  /** Where the machines' folders are. */
  readonly folder: string;
  readonly program?: string;
  /** "auto": KVM where it is of use, otherwise QEMU's own emulation. */
  readonly accelerator: "auto" | "kvm" | "tcg";
}

/** What the folder of a machine says. */
interface StoredVm extends ProcessIdentity {
  readonly vmId: string;
  readonly epoch: number;
  /** It waits for the memory of one that runs elsewhere, by this migration. */
  readonly migration?: number;
}

export class QemuHypervisor implements Hypervisor {
  readonly #options: QemuOptions;
  readonly #clients = new Map<string, QmpClient>();
  readonly #guard: MachineGuard;
  /** Machines that the guard leaves alone. */
  #left: ReadonlySet<string> = new Set();
  #useKvm: Promise<boolean> | undefined;

  constructor(options: QemuOptions) {
    this.#options = options;
    fs.mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#guard = new MachineGuard(`${options.folder}-guard`);
  }

  async list(): Promise<readonly RunningVm[]> {
    const vms: RunningVm[] = [];
    for (const vmId of fs.readdirSync(this.#options.folder)) {
      const stored = this.#stored(vmId);
      if (stored === undefined) continue;
      const { epoch, migration } = stored;
      this.#console(vmId).trim();
      if (migration !== undefined && isSameProcess(stored))
        vms.push({ vmId, epoch, state: "arriving", migration });
      else if (isStopped(stored)) vms.push({ vmId, epoch, state: "paused" });
      else if (isSameProcess(stored)) vms.push({ vmId, epoch, ...(await this.#stateOf(vmId)) });
      else if (fs.existsSync(this.#file(vmId, "ended"))) vms.push({ vmId, epoch, state: "ended" });
    }
    return vms;
  }

  async start(vm: VmStart): Promise<void> {
    await this.#launch(vm);
  }

  async receive(vm: VmStart, migration: number): Promise<string> {
    await this.#launch(vm, migration);
    return this.#file(vm.vmId, "incoming.sock");
  }

  async accept(vmId: string): Promise<void> {
    const stored = this.#stored(vmId);
    if (stored === undefined || !isSameProcess(stored))
      throw new CodedError({ code: "vm-unreachable", message: `${vmId} waits for nothing here` });
    if (isStopped(stored)) process.kill(stored.pid, "SIGCONT");
    await requireWhole(await this.#client(vmId), vmId);
    const { migration: _arrived, ...rest } = stored;
    this.#store(rest);
  }

  async send(vmId: string, socket: string): Promise<void> {
    await sendMemory(await this.#client(vmId), vmId, socket);
  }

  async cancelSend(vmId: string): Promise<void> {
    await (await this.#client(vmId)).command("migrate_cancel");
  }

  async #launch(vm: VmStart, migration?: number): Promise<void> {
    await this.kill(vm.vmId);
    fs.mkdirSync(this.#file(vm.vmId, ""), { recursive: true, mode: 0o700 });
    this.#console(vm.vmId).startAnew();
    const log = fs.openSync(this.#file(vm.vmId, "qemu.log"), "w", 0o600);
    const incoming = `unix:${this.#file(vm.vmId, "incoming.sock")}`;
    const waits = migration === undefined ? [] : ["-S", "-incoming", incoming];
    const child = spawn(
      this.#program,
      [...this.#arguments(vm, await this.#mayUseKvm()), ...waits],
      {
        detached: true,
        stdio: ["ignore", log, log],
      },
    );
    fs.closeSync(log);
    const failure = new Promise<never>((_resolve, reject) => {
      child.once("error", (error) => reject(this.#notStarted(vm, errorText(error))));
      child.once("exit", (code) => reject(this.#notStarted(vm, `QEMU ended with code ${code}`)));
    });
    // Once it runs, its end is no failure of the start.
    failure.catch(() => {});
    child.unref();
    const { pid } = child;
    if (pid === undefined) return await failure;
    const stored = { vmId: vm.vmId, epoch: vm.epoch, ...identityOfProcess(pid) };
    this.#store(migration === undefined ? stored : { ...stored, migration });
    this.#tellGuard();
    try {
      await Promise.race([this.#ready(vm.vmId), failure]);
    } catch (error) {
      await this.kill(vm.vmId);
      throw error;
    }
  }

  allow(ms: number, left: ReadonlySet<string> = new Set()): void {
    if (left.size !== this.#left.size || [...left].some((vmId) => !this.#left.has(vmId))) {
      this.#left = left;
      this.#tellGuard();
    }
    this.#guard.allow(ms);
  }

  async prepare(): Promise<void> {
    await this.#mayUseKvm();
  }

  async shutDown(vmId: string): Promise<void> {
    await (await this.#client(vmId)).command("system_powerdown");
  }

  async kill(vmId: string): Promise<void> {
    this.#clients.get(vmId)?.close();
    this.#clients.delete(vmId);
    const stored = this.#stored(vmId);
    if (stored !== undefined && isSameProcess(stored)) {
      process.kill(stored.pid, "SIGKILL");
      const endMs = performance.now() + END_MS_MAX;
      while (isSameProcess(stored)) {
        if (performance.now() > endMs)
          throw new CodedError({
            code: "vm-unreachable",
            message: `the process ${stored.pid} of ${vmId} does not end`,
          });
        await pause();
      }
    }
    for (const name of ["vm.json", "ended", "qmp.sock", "incoming.sock"])
      fs.rmSync(this.#file(vmId, name), { force: true });
    this.#tellGuard();
  }

  async pause(vmId: string): Promise<void> {
    const stored = this.#stored(vmId);
    if (stored !== undefined && isStopped(stored)) return;
    await (await this.#client(vmId)).command("stop");
  }

  async resume(vmId: string): Promise<void> {
    const stored = this.#stored(vmId);
    if (stored !== undefined && isStopped(stored)) process.kill(stored.pid, "SIGCONT");
    if ((await this.#stateOf(vmId)).isHung === true) return;
    await (await this.#client(vmId)).command("cont");
  }

  async reset(vmId: string): Promise<void> {
    const { isHung } = await this.#stateOf(vmId);
    const client = await this.#client(vmId);
    await client.command("system_reset");
    // One that stands still for another reason has no right to execute.
    if (isHung === true) await client.command("cont");
  }

  /** What the machine has printed from byte `from` on; the last `bytesMax` if undefined. */
  readConsole(vmId: string, from: number | undefined, bytesMax: number): ConsoleText {
    return this.#console(vmId).read(from, bytesMax);
  }

  async close(): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  get #program(): string {
    return this.#options.program ?? "qemu-system-x86_64";
  }

  #mayUseKvm(): Promise<boolean> {
    const { accelerator } = this.#options;
    this.#useKvm ??=
      accelerator === "auto" ? isKvmOfUse(this.#program) : Promise.resolve(accelerator === "kvm");
    return this.#useKvm;
  }

  #console(vmId: string): ConsoleLog {
    return new ConsoleLog(this.#file(vmId, "serial.log"));
  }

  #file(vmId: string, name: string): string {
    return path.join(this.#options.folder, vmId, name);
  }

  #stored(vmId: string): StoredVm | undefined {
    try {
      return JSON.parse(fs.readFileSync(this.#file(vmId, "vm.json"), "utf8")) as StoredVm;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw new CodedError({
        code: "vm-unreachable",
        message: `the folder of ${vmId} cannot be read: ${errorText(error)}`,
      });
    }
  }

  #tellGuard(): void {
    const names = fs.readdirSync(this.#options.folder);
    const machines = names
      .map((vmId) => this.#stored(vmId))
      .filter((stored) => stored !== undefined)
      .filter(({ vmId }) => !this.#left.has(vmId));
    this.#guard.watch(machines.filter(isSameProcess));
  }

  #store(stored: StoredVm): void {
    const file = this.#file(stored.vmId, "vm.json");
    fs.writeFileSync(`${file}.new`, JSON.stringify(stored), { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
  }

  async #stateOf(vmId: string): Promise<Pick<RunningVm, "state" | "isHung">> {
    try {
      const answer = await (await this.#client(vmId)).command("query-status");
      const status = String((answer as { readonly status?: unknown }).status);
      if (status === "shutdown") return { state: "ended" };
      if (status === HUNG) return { state: "paused", isHung: true };
      return { state: STILL.has(status) ? "paused" : "running" };
    } catch (error) {
      // It runs, and nobody knows how: the careful answer.
      if (error instanceof CodedError) return { state: "running" };
      throw error;
    }
  }

  async #ready(vmId: string): Promise<void> {
    const endMs = performance.now() + READY_MS_MAX;
    for (;;) {
      try {
        await (await this.#client(vmId)).command("query-status");
        return;
      } catch (error) {
        if (!(error instanceof CodedError) || performance.now() > endMs) throw error;
        await pause();
      }
    }
  }

  async #client(vmId: string): Promise<QmpClient> {
    const known = this.#clients.get(vmId);
    if (known !== undefined) return known;
    const client = await QmpClient.connect(this.#file(vmId, "qmp.sock"), ({ name, data }) => {
      // The guest has shut down; a host that ends the process does not say so.
      if (name === "SHUTDOWN" && data["guest"] === true && this.#stored(vmId) !== undefined)
        fs.writeFileSync(this.#file(vmId, "ended"), JSON.stringify(data));
    });
    this.#clients.set(vmId, client);
    void client.closed.then(() => {
      if (this.#clients.get(vmId) === client) this.#clients.delete(vmId);
    });
    return client;
  }

  #arguments(vm: VmStart, useKvm: boolean): string[] {
    const { vmId, name, cpuCount, memoryBytes, boot, disks, networks, hasWatchdog } = vm;
    const memory = `${Math.floor(memoryBytes / 2 ** 20)}M`;
    return [
      ...["-name", name, "-machine", "q35,memory-backend=mem", "-accel", useKvm ? "kvm" : "tcg"],
      ...["-object", `memory-backend-memfd,id=mem,size=${memory},share=on`],
      ...["-m", memory, "-smp", String(cpuCount), "-nodefaults", "-display", "none"],
      ...["-qmp", `unix:${optionOf(this.#file(vmId, "qmp.sock"))},server=on,wait=off`],
      ...["-chardev", `file,id=console,path=${optionOf(this.#file(vmId, "serial.log"))},append=on`],
      ...["-serial", "chardev:console"],
      ...(boot.kind === "kernel"
        ? [
            ...["-kernel", boot.kernelPath, "-append", boot.commandLine],
            ...(boot.initrdPath === undefined ? [] : ["-initrd", boot.initrdPath]),
          ]
        : []),
      ...(hasWatchdog ? ["-device", "i6300esb", "-action", "watchdog=pause"] : []),
      ...disks.flatMap(({ vhostSocket }, i) => [
        ...["-chardev", `socket,id=disk${i},path=${optionOf(vhostSocket)},reconnect=1`],
        ...["-device", vhostDevice(i, boot.kind)],
      ]),
      ...networks.flatMap((network, i) => [
        ...["-netdev", `${backendOf(network)},id=net${i}`],
        // Without the program to boot over the network, which QEMU may come without.
        ...["-device", `virtio-net-pci,netdev=net${i},mac=${network.mac},romfile=`],
      ]),
    ];
  }

  #notStarted(vm: VmStart, why: string): CodedError {
    const log = fs.readFileSync(this.#file(vm.vmId, "qemu.log"), "utf8").trim();
    return new CodedError({
      code: "vm-not-started",
      message: `${vm.name} does not start: ${why}: ${log.slice(-LOG_TAIL_CHARACTERS)}`,
      hint: "is qemu-system-x86_64 installed on this host, and what its files name there?",
    });
  }
}

/** A kernel that is given comes before all disks, and wants their first place for itself. */
function vhostDevice(i: number, boot: VmStart["boot"]["kind"]): string {
  const order = boot === "disk" ? `,bootindex=${i}` : "";
  return `vhost-user-blk-pci,chardev=disk${i}${order}`;
}

function backendOf(network: VmNetwork): string {
  if (network.kind === "user") return "user";
  if (network.kind === "bridge") return `bridge,br=${network.interfaceName}`;
  return `tap,ifname=${network.interfaceName},script=no,downscript=no`;
}

/** A comma in a value is written twice. */
function optionOf(value: string): string {
  return value.replaceAll(",", ",,");
}

function pause(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, POLL_MS));
}
