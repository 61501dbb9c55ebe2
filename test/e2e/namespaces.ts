/**
 * Machines of a cluster as network namespaces: each has a cable to a switch of the management
 * network and one to a switch of the storage network. Everything lives in namespaces that were made
 * for the test, and goes with them.
 */
import { execFileSync } from "node:child_process";
import { runTool } from "./process.ts";

export type CableName = "management" | "storage";
/** `in` loses what comes to the machine, `out` what it sends. */
export type Direction = "in" | "out" | "both";

const SUBNETS = { management: "10.77.1", storage: "10.77.2" } as const;
const DEVICES = { management: "m0", storage: "s0" } as const;
const TABLE = "inet drystone_test";
let made = 0;

/** Why such tests cannot run here, if they cannot. */
export function namespacesMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  try {
    execFileSync("nft", ["--version"], { stdio: "pipe" });
    const probe = `drystone-probe-${process.pid}`;
    execFileSync("ip", ["netns", "add", probe], { stdio: "pipe" });
    execFileSync("ip", ["netns", "delete", probe], { stdio: "pipe" });
    return undefined;
  } catch {
    return "network namespaces cannot be made here (ip and nft are needed)";
  }
}

export class Namespaces {
  readonly #prefix: string;
  readonly #count: number;

  private constructor(prefix: string, count: number) {
    this.#prefix = prefix;
    this.#count = count;
  }

  /** Machines 1 to `count`. */
  static async create(count: number): Promise<Namespaces> {
    const all = new Namespaces(`drystone-${process.pid}-${made++}`, count);
    try {
      await all.#make();
    } catch (error) {
      await all.dispose();
      throw error;
    }
    return all;
  }

  address(machine: number, cable: CableName): string {
    return `${SUBNETS[cable]}.${machine}`;
  }

  /** What to run, so that it runs on the machine. */
  command(machine: number, program: string, args: readonly string[]): readonly string[] {
    return ["netns", "exec", this.#name(machine), program, ...args];
  }

  /** Packets get lost on this cable until it is mended. */
  async cut(machine: number, cable: CableName, direction: Direction): Promise<void> {
    const device = DEVICES[cable];
    const lost = (hook: string, key: string): string =>
      `chain ${hook}_${device} { type filter hook ${hook} priority 0; ${key} "${device}" drop; }`;
    const chains = [
      direction === "out" ? "" : lost("input", "iifname"),
      direction === "in" ? "" : lost("output", "oifname"),
    ];
    await this.#nft(machine, `table ${TABLE} {\n${chains.join("\n")}\n}\n`);
  }

  /** Packets between the machine and those others get lost on this cable until it is mended. */
  async split(machine: number, cable: CableName, others: readonly number[]): Promise<void> {
    const device = DEVICES[cable];
    const them = `{ ${others.map((other) => this.address(other, cable)).join(", ")} }`;
    const lost = (hook: string, key: string, end: string): string =>
      `chain ${hook}_${device} { type filter hook ${hook} priority 0; ` +
      `${key} "${device}" ip ${end} ${them} drop; }`;
    const chains = [lost("input", "iifname", "saddr"), lost("output", "oifname", "daddr")];
    await this.#nft(machine, `table ${TABLE} {\n${chains.join("\n")}\n}\n`);
  }

  /** All cables of the machine. */
  async mend(machine: number): Promise<void> {
    await this.#nft(machine, `table ${TABLE} {}\ndelete table ${TABLE}\n`);
  }

  async dispose(): Promise<void> {
    const { stdout } = await runTool("ip", ["netns", "list"]);
    const names = stdout.split("\n").map((line) => line.split(" ")[0] ?? "");
    for (const name of names)
      if (name.startsWith(`${this.#prefix}-`)) await runTool("ip", ["netns", "delete", name]);
  }

  async #make(): Promise<void> {
    const hub = this.#name("hub");
    await runTool("ip", ["netns", "add", hub]);
    for (const cable of ["management", "storage"] as const) {
      await runTool("ip", ["-n", hub, "link", "add", cable, "type", "bridge"]);
      await runTool("ip", ["-n", hub, "link", "set", cable, "up"]);
    }
    for (let machine = 1; machine <= this.#count; machine++) {
      const name = this.#name(machine);
      await runTool("ip", ["netns", "add", name]);
      await runTool("ip", ["-n", name, "link", "set", "lo", "up"]);
      for (const cable of ["management", "storage"] as const) await this.#plug(machine, cable);
    }
  }

  async #plug(machine: number, cable: CableName): Promise<void> {
    const [hub, name, device] = [this.#name("hub"), this.#name(machine), DEVICES[cable]];
    const end = `${cable[0]}${machine}`;
    const pair = ["type", "veth", "peer", "name", device, "netns", name];
    await runTool("ip", ["-n", hub, "link", "add", end, ...pair]);
    await runTool("ip", ["-n", hub, "link", "set", end, "master", cable, "up"]);
    const address = `${this.address(machine, cable)}/24`;
    await runTool("ip", ["-n", name, "address", "add", address, "dev", device]);
    await runTool("ip", ["-n", name, "link", "set", device, "up"]);
  }

  async #nft(machine: number, input: string): Promise<void> {
    await runTool("ip", [...this.command(machine, "nft", ["-f", "-"])], { input });
  }

  #name(machine: number | "hub"): string {
    return `${this.#prefix}-${machine}`;
  }
}
