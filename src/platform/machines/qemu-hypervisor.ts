/**
 * Virtual machines as QEMU processes. Each has a folder with what was started, its process, its
 * console's output and its control socket, and lives on when this process ends: the next one finds
 * it by the folder. A process counts as the machine's only if its id and its start time agree, so
 * that nobody else's process is ever taken for it.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import type { Hypervisor, RunningVm, VmStart } from "../../ports/index.ts";
import { ConsoleLog } from "./console-log.ts";
import type { ConsoleText } from "./console-log.ts";
import { GuestAgent } from "./guest-agent.ts";
import { isKvmOfUse } from "./kvm-probe.ts";
import { boundToNbd, hasVhostDisks, requireNbd } from "./qemu-disks.ts";
import { MachineGuard } from "./machine-guard.ts";
import { MachineRecord } from "./machine-record.ts";
import type { StoredVm } from "./machine-record.ts";
import { identityOfProcess, isSameProcess, isStopped } from "../process-identity.ts";
import { SerialInput } from "./serial-input.ts";
import { controlSocketOf, qemuArguments } from "./qemu-arguments.ts";
import { requireWhole, sendMemory } from "./qemu-migration.ts";
import { QmpClient } from "./qmp-client.ts";

const READY_MS_MAX = 30_000;
const END_MS_MAX = 10_000;
/** For what a machine answers at once, unless its QEMU is stuck. */
const LOOK_MS_MAX = 1000;
const POLL_MS = 50;
const LOG_TAIL_BYTES = 600;
/** A file in the folder of a machine that was asked to shut down because its host was cut off. */
const CUT_OFF = "cut-off";
const SOCKETS = ["qmp.sock", "incoming.sock", "agent.sock", "serial.sock"];
/** Of a machine whose guest has not fed the watchdog. */
const HUNG = "watchdog";
/** "postmigrate": all its memory was sent elsewhere, and it may still go on here. */
const STILL: ReadonlySet<string> = new Set(["paused", "postmigrate", "finish-migrate"]);

type VmCondition = Pick<RunningVm, "state" | "isHung">;
interface LateQuestion {
  /** What was answered in the end. */
  found?: VmCondition;
}

type TroubleKind = "damaged" | "silent";

const UNKNOWN: VmCondition = { state: "running" };

export interface QemuOptions {
  /** Where the machines' folders are. */
  readonly folder: string;
  readonly program?: string;
  /** "auto": KVM where it is of use, otherwise QEMU's own emulation. */
  readonly accelerator: "auto" | "kvm" | "tcg";
  /**
   * The file to be read in place of one that a machine is to boot from. Fails with
   * `boot-file-refused` or `vm-not-started`.
   */
  readonly bootFile?: (file: string) => string;
  /** Something is wrong with what is known of a machine, which concerns no other one. */
  readonly onTrouble?: (vmId: string, what: string) => void;
}

export class QemuHypervisor implements Hypervisor {
  readonly #options: QemuOptions;
  /** QEMU speaks to one at a time: another connection would wait until the first one ends. */
  readonly #clients = new Map<string, Promise<QmpClient>>();
  readonly #inputs = new Map<string, SerialInput>();
  readonly #agents = new Map<string, GuestAgent>();
  /** Questions how a machine is that it has not answered in time. */
  readonly #late = new Map<string, LateQuestion>();
  readonly #troubles = new Map<string, string>();
  readonly #guard: MachineGuard;
  /** Machines that the guard leaves alone. */
  #left: ReadonlySet<string> = new Set();
  #useKvm: Promise<boolean> | undefined;
  #useVhost: Promise<boolean> | undefined;

  constructor(options: QemuOptions) {
    this.#options = options;
    fs.mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#guard = new MachineGuard(`${options.folder}-guard`);
  }

  async list(): Promise<readonly RunningVm[]> {
    const found = fs.readdirSync(this.#options.folder).map((vmId) => this.#find(vmId));
    return (await Promise.all(found))
      .filter((vm) => vm !== undefined)
      .map((vm) => (fs.existsSync(this.#file(vm.vmId, CUT_OFF)) ? { ...vm, isCutOff: true } : vm));
  }

  async #find(vmId: string): Promise<RunningVm | undefined> {
    const stored = this.#stored(vmId);
    if (stored === undefined) return undefined;
    const { epoch, migration } = stored;
    for (const text of [this.#console(vmId), this.#log(vmId)]) text.trim();
    if (migration !== undefined && isSameProcess(stored))
      return { vmId, epoch, state: "arriving", migration };
    if (isStopped(stored)) return { vmId, epoch, state: "paused" };
    if (isSameProcess(stored)) return await this.#look(stored);
    if (fs.existsSync(this.#file(vmId, "ended"))) return { vmId, epoch, state: "ended" };
    return undefined;
  }

  async #look(stored: StoredVm): Promise<RunningVm> {
    const { vmId, epoch } = stored;
    const vm = { vmId, epoch, ...(await this.#stateOf(vmId)) };
    if (stored.hasAgent !== true) return vm;
    const agent = this.#agents.get(vmId) ?? new GuestAgent(this.#file(vmId, "agent.sock"));
    this.#agents.set(vmId, agent);
    if (vm.state === "running") return { ...vm, isSilent: agent.isSilent() };
    agent.stands();
    return vm;
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
    this.#record(vmId).write(rest);
  }

  async send(vmId: string, socket: string): Promise<void> {
    if (this.#stored(vmId)?.isOverNbd === true) throw boundToNbd(vmId);
    // Emulated processors lose writes of a guest that runs on while what it has written is looked
    // for: QEMU clears its notes of them in between (kvm-unit-tests has a program that shows it).
    if (!(await this.#mayUseKvm())) await this.pause(vmId);
    await sendMemory(await this.#client(vmId), vmId, socket);
  }

  async cancelSend(vmId: string): Promise<void> {
    await (await this.#client(vmId)).command("migrate_cancel");
  }

  async #launch(wanted: VmStart, migration?: number): Promise<void> {
    await this.kill(wanted.vmId);
    const { bootFile } = this.#options;
    const vm = bootFile === undefined ? wanted : withBootFiles(wanted, bootFile);
    requireFirmware(vm);
    const useKvm = await this.#mayUseKvm();
    const useVhost = await this.#mayUseVhost();
    if (!useVhost) requireNbd(vm);
    fs.mkdirSync(this.#file(vm.vmId, ""), { recursive: true, mode: 0o700 });
    this.#console(vm.vmId).startAnew();
    this.#log(vm.vmId).startAnew();
    // Only what is appended ends up in the right place once the file was cut.
    const log = fs.openSync(this.#file(vm.vmId, "qemu.log"), "a", 0o600);
    const incoming = `unix:${this.#file(vm.vmId, "incoming.sock")}`;
    const waits = migration === undefined ? [] : ["-S", "-incoming", incoming];
    const child = spawn(
      this.#program,
      [...qemuArguments(vm, { useKvm, useVhost }, (name) => this.#file(vm.vmId, name)), ...waits],
      {
        detached: true,
        stdio: ["ignore", log, log],
      },
    );
    fs.closeSync(log);
    const end = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(errorText(error)));
      child.once("exit", (code) => resolve(`QEMU ended with code ${code}`));
    });
    child.unref();
    const { pid } = child;
    if (pid === undefined) throw this.#notStarted(vm, await end);
    const { vmId, epoch, hasAgent } = vm;
    const isOverNbd = !useVhost && vm.disks.length > 0;
    const stored = { vmId, epoch, hasAgent, isOverNbd, ...identityOfProcess(pid) };
    this.#record(vmId).write(migration === undefined ? stored : { ...stored, migration });
    this.#tellGuard();
    try {
      const reason = await Promise.race([this.#ready(vm.vmId), end]);
      if (typeof reason === "string") throw this.#notStarted(vm, reason);
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
    await Promise.all([this.#mayUseKvm(), this.#mayUseVhost()]);
  }

  async shutDown(vmId: string, isCutOff = false): Promise<void> {
    if (isCutOff) fs.writeFileSync(this.#file(vmId, CUT_OFF), "");
    await (await this.#client(vmId)).command("system_powerdown");
  }

  async kill(vmId: string): Promise<void> {
    this.#hangUp(vmId);
    this.#agents.get(vmId)?.close();
    this.#agents.delete(vmId);
    this.#inputs.get(vmId)?.close();
    this.#inputs.delete(vmId);
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
    this.#late.delete(vmId);
    for (const kind of ["damaged", "silent"] as const) this.#trouble(vmId, kind, undefined);
    for (const name of ["vm.json", "ended", CUT_OFF, ...SOCKETS])
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
    const { state, isHung } = await this.#stateOf(vmId);
    if (isHung === true || state === "ended") return;
    await (await this.#client(vmId)).command("cont");
  }

  async reset(vmId: string): Promise<void> {
    const { isHung } = await this.#stateOf(vmId);
    const client = await this.#client(vmId);
    await client.command("system_reset");
    this.#agents.get(vmId)?.forget();
    // One that stands still for another reason has no right to execute.
    if (isHung === true) await client.command("cont");
  }

  /** What the machine has printed from byte `from` on; the last `bytesMax` if undefined. */
  readConsole(vmId: string, from: number | undefined, bytesMax: number): ConsoleText {
    return this.#console(vmId).read(from, bytesMax);
  }

  /** On the machine's serial console. Fails with `vm-unreachable`. */
  async type(vmId: string, text: string): Promise<void> {
    const known = this.#inputs.get(vmId);
    const input = known ?? new SerialInput(vmId, this.#file(vmId, "serial.sock"));
    this.#inputs.set(vmId, input);
    await input.type(text);
  }

  async close(): Promise<void> {
    for (const vmId of this.#clients.keys()) this.#hangUp(vmId);
    for (const agent of this.#agents.values()) agent.close();
    this.#agents.clear();
    for (const input of this.#inputs.values()) input.close();
    this.#inputs.clear();
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

  #mayUseVhost(): Promise<boolean> {
    this.#useVhost ??= hasVhostDisks(this.#program);
    return this.#useVhost;
  }

  #console(vmId: string): ConsoleLog {
    return new ConsoleLog(this.#file(vmId, "serial.log"));
  }

  /** What QEMU itself says. */
  #log(vmId: string): ConsoleLog {
    return new ConsoleLog(this.#file(vmId, "qemu.log"));
  }

  #file(vmId: string, name: string): string {
    return path.join(this.#options.folder, vmId, name);
  }

  #record(vmId: string): MachineRecord {
    const argument = controlSocketOf(this.#file(vmId, "qmp.sock"));
    return new MachineRecord(vmId, this.#file(vmId, "vm.json"), argument);
  }

  #stored(vmId: string): StoredVm | undefined {
    return this.#record(vmId).read((why) => {
      this.#trouble(vmId, "damaged", `is looked for by its process: its file is damaged: ${why}`);
    });
  }

  /** Told once, until the machine has none of the kind or another one. */
  #trouble(vmId: string, kind: TroubleKind, what: string | undefined): void {
    const key = `${kind}/${vmId}`;
    if (this.#troubles.get(key) === what) return;
    if (what === undefined) this.#troubles.delete(key);
    else {
      this.#troubles.set(key, what);
      this.#options.onTrouble?.(vmId, what);
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

  /** "running", the careful answer, if it does not say so at once: others are waited for, too. */
  async #stateOf(vmId: string): Promise<VmCondition> {
    const late = this.#late.get(vmId);
    // Where everything is slow what comes late is all that ever comes: it counts once.
    if (late?.found !== undefined) this.#late.delete(vmId);
    if (late !== undefined) return late.found ?? UNKNOWN;
    const answer = this.#ask(vmId);
    let timer: NodeJS.Timeout | undefined;
    const end = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LOOK_MS_MAX);
    });
    const found = await Promise.race([answer, end]);
    clearTimeout(timer);
    if (found !== undefined) return found;
    const question: LateQuestion = {};
    this.#late.set(vmId, question);
    this.#trouble(vmId, "silent", "runs, and its QEMU does not say how it is");
    const settle = (answered: VmCondition): void => void (question.found = answered);
    answer.then(settle, () => settle(UNKNOWN));
    return UNKNOWN;
  }

  async #ask(vmId: string): Promise<VmCondition> {
    try {
      const answer = await (await this.#client(vmId)).command("query-status");
      const status = String((answer as { readonly status?: unknown }).status);
      this.#trouble(vmId, "silent", undefined);
      if (status === "shutdown") return { state: "ended" };
      if (status === HUNG) return { state: "paused", isHung: true };
      return { state: STILL.has(status) ? "paused" : "running" };
    } catch (error) {
      if (error instanceof CodedError) return UNKNOWN;
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

  #client(vmId: string): Promise<QmpClient> {
    const known = this.#clients.get(vmId);
    if (known !== undefined) return known;
    const client = QmpClient.connect(this.#file(vmId, "qmp.sock"), ({ name, data }) => {
      // The guest has shut down; a host that ends the process does not say so.
      if (name === "SHUTDOWN" && data["guest"] === true) this.#noteEnd(vmId, data);
    });
    this.#clients.set(vmId, client);
    const forget = (): void => {
      if (this.#clients.get(vmId) === client) this.#clients.delete(vmId);
    };
    client.then(({ closed }) => closed.then(forget), forget);
    return client;
  }

  /** QEMU itself still knows while its process is there, however full the disk is. */
  #noteEnd(vmId: string, data: Readonly<Record<string, unknown>>): void {
    try {
      if (this.#stored(vmId) === undefined) return;
      fs.writeFileSync(this.#file(vmId, "ended"), JSON.stringify(data));
    } catch (error) {
      this.#options.onTrouble?.(vmId, `has shut down, which is not noted: ${errorText(error)}`);
    }
  }

  #hangUp(vmId: string): void {
    // Who waits for a connection that fails hears of it.
    this.#clients.get(vmId)?.then(
      (client) => client.close(),
      () => {},
    );
    this.#clients.delete(vmId);
  }

  #notStarted(vm: VmStart, why: string): CodedError {
    const log = this.#log(vm.vmId).read(undefined, LOG_TAIL_BYTES).text.trim();
    return new CodedError({
      code: "vm-not-started",
      message: `${vm.name} does not start: ${why}: ${log}`,
      hint: "is qemu-system-x86_64 installed on this host, and what its files name there?",
    });
  }
}

function withBootFiles(vm: VmStart, bootFile: (file: string) => string): VmStart {
  const { boot, firmwarePath } = vm;
  const real = (file: string | undefined): string | undefined => file && bootFile(file);
  return {
    ...vm,
    firmwarePath: real(firmwarePath),
    boot:
      boot.kind === "disk"
        ? boot
        : {
            ...boot,
            kernelPath: bootFile(boot.kernelPath),
            initrdPath: real(boot.initrdPath),
          },
  };
}

/** QEMU says of a firmware that is not there only that it cannot be loaded. */
function requireFirmware({ name, firmwarePath }: VmStart): void {
  if (firmwarePath === undefined || fs.statSync(firmwarePath, { throwIfNoEntry: false })?.isFile())
    return;
  throw new CodedError({
    code: "vm-not-started",
    message: `${name} does not start: this host has no firmware ${firmwarePath}`,
    hint: "Debian's package ovmf has /usr/share/ovmf/OVMF.fd; every host needs the same path",
  });
}

function pause(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, POLL_MS));
}
