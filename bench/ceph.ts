/**
 * Ceph on this machine, to compare with: a monitor, a manager and three OSDs with BlueStore on
 * files, a pool of two copies, one image. Everything is in one folder and on the loopback
 * interface, without authentication, and ends with `kill`.
 */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "../test/e2e/harness.ts";
import { Program, runTool } from "../test/e2e/process.ts";
import { VOLUME_BYTES } from "./fio-samples.ts";

const OSDS = 3;
const OSD_BYTES = 4 * 2 ** 30;
const READY_MS_MAX = 60_000;
const POLL_MS = 300;
/** Each question takes a third of a second of a processor, which a copy could use. */
const SLOW_POLL_MS = 1000;

/** Why it cannot be started here, or undefined. */
export function cephMissing(): string | undefined {
  for (const program of ["ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "rbd"]) {
    try {
      execFileSync(program, ["--version"], { stdio: "pipe" });
    } catch {
      return `${program} is not installed`;
    }
  }
  return undefined;
}

export interface CephOptions {
  readonly imageBytes: number;
  readonly osdBytes: number;
  /** More of its configuration. */
  readonly settings: Readonly<Record<string, string | number>>;
}

const DEFAULTS: CephOptions = { imageBytes: VOLUME_BYTES, osdBytes: OSD_BYTES, settings: {} };

export class CephCluster {
  readonly #folder: string;
  readonly #options: CephOptions;
  readonly #programs = new Map<string, Program>();

  private constructor(folder: string, options: CephOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** With an empty image. */
  static async create(folder: string, options: CephOptions = DEFAULTS): Promise<CephCluster> {
    const ceph = new CephCluster(folder, options);
    fs.mkdirSync(path.join(folder, "run"), { recursive: true });
    try {
      await ceph.#startMonitor();
      for (let id = 0; id < OSDS; id++) await ceph.#startOsd(id);
      await ceph.#makeImage();
    } catch (error) {
      await ceph.kill();
      throw error;
    }
    return ceph;
  }

  /** What fio is to use. */
  get client(): readonly string[] {
    return ["--ioengine=rbd", "--pool=rbd", "--rbdname=bench", `--clientname=admin`];
  }

  /** fio's engine looks for the configuration where the environment says. */
  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, CEPH_CONF: this.#conf };
  }

  get processes(): ReadonlyMap<string, readonly number[]> {
    return new Map([...this.#programs].map(([name, { pid }]) => [name, [pid]]));
  }

  async kill(): Promise<void> {
    for (const program of this.#programs.values()) await program.kill();
  }

  /** Until all that is written is where it belongs, as often as it should be. */
  async untilClean(limitMs: number = READY_MS_MAX): Promise<void> {
    const pauseMs = limitMs > READY_MS_MAX ? SLOW_POLL_MS : POLL_MS;
    await this.#until(() => this.#isClean(), limitMs, pauseMs);
  }

  /** Until it knows that something is not, which takes it a moment. */
  async untilUnclean(): Promise<void> {
    await this.#until(async () => !(await this.#isClean()));
  }

  /** As "33 pgs: 33 active+clean; ...": those of a pool of Ceph's own are among them. */
  async #isClean(): Promise<boolean> {
    return /^(\d+) pgs: \1 active\+clean;/.test(await this.command(["pg", "stat"]));
  }

  async command(args: readonly string[]): Promise<string> {
    return (await runTool("ceph", ["-c", this.#conf, ...args])).stdout;
  }

  get #conf(): string {
    return path.join(this.#folder, "ceph.conf");
  }

  async #startMonitor(): Promise<void> {
    const folder = this.#folder;
    const fsid = randomUUID();
    const address = `[v2:127.0.0.1:${await freePort()}]`;
    fs.writeFileSync(this.#conf, configuration(folder, fsid, address, this.#options));
    const map = path.join(folder, "monmap");
    await runTool("monmaptool", ["--create", "--addv", "a", address, "--fsid", fsid, map]);
    fs.mkdirSync(path.join(folder, "mon"));
    await runTool("ceph-mon", ["-c", this.#conf, "--mkfs", "-i", "a", "--monmap", map]);
    this.#spawn("mon", "ceph-mon", "a");
    await this.#until(async () =>
      (await this.command(["quorum_status"])).includes("quorum_leader"),
    );
    fs.mkdirSync(path.join(folder, "mgr"));
    this.#spawn("mgr", "ceph-mgr", "x");
  }

  async #startOsd(id: number): Promise<void> {
    const uuid = randomUUID();
    await this.command(["osd", "new", uuid]);
    fs.mkdirSync(path.join(this.#folder, `osd${id}`));
    const make = ["-c", this.#conf, "-i", String(id), "--mkfs", "--osd-uuid", uuid];
    await runTool("ceph-osd", make);
    this.#spawn(`osd${id}`, "ceph-osd", String(id));
  }

  async #makeImage(): Promise<void> {
    await this.#until(async () => (await this.command(["osd", "stat"])).includes(`${OSDS} up`));
    await this.command(["osd", "pool", "create", "rbd", "32", "32"]);
    await this.untilClean();
    const size = String(this.#options.imageBytes / 2 ** 20);
    await runTool("rbd", ["-c", this.#conf, "create", "bench", "--size", size]);
  }

  #spawn(name: string, program: string, id: string): void {
    const line = ["-c", this.#conf, "-i", id, "-f"];
    this.#programs.set(name, new Program(`ceph ${name}`, program, line));
  }

  async #until(
    isSo: () => Promise<boolean>,
    limitMs: number = READY_MS_MAX,
    pauseMs: number = POLL_MS,
  ): Promise<void> {
    const limit = performance.now() + limitMs;
    while (!(await isSo())) {
      if (performance.now() > limit) throw new Error("Ceph does not become ready");
      await pause(pauseMs);
    }
  }
}

/** `chooseleaf_type` 0: copies on different OSDs are enough, all of which are on one machine. */
function configuration(
  folder: string,
  fsid: string,
  monitor: string,
  options: CephOptions,
): string {
  const settings: Record<string, string | number> = {
    fsid,
    mon_host: monitor,
    auth_cluster_required: "none",
    auth_service_required: "none",
    auth_client_required: "none",
    public_addr: "127.0.0.1",
    run_dir: `${folder}/run`,
    admin_socket: `${folder}/run/$type.$id.asok`,
    log_file: `${folder}/log.$type.$id`,
    pid_file: `${folder}/run/$type.$id.pid`,
    mon_data: `${folder}/mon`,
    mgr_data: `${folder}/mgr`,
    osd_data: `${folder}/osd$id`,
    osd_objectstore: "bluestore",
    osd_pool_default_size: 2,
    osd_pool_default_min_size: 1,
    osd_crush_chooseleaf_type: 0,
    bluestore_block_size: options.osdBytes,
    // A write counts when it is durable, not when the client has it in its cache.
    rbd_cache: "false",
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return ["[global]", ...lines, ""].join("\n");
}
