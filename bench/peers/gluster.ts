/**
 * GlusterFS: one management daemon, three bricks, a volume of two copies and an arbiter with one
 * image, loaded through its library. Only in an enclosure: the folders that are built into it are
 * replaced there.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Program, runTool } from "../../test/e2e/process.ts";
import { ENCLOSED_ADDRESS } from "./enclosure.ts";

const VOLUME = "bench";
const NEW_BRICK = "b3";
const READY_MS_MAX = 60_000;
const POLL_MS = 200;
const HEAL_MS_MAX = 900_000;

/** As its own set for virtual machines' disks; a write is answered when the bricks have it. */
const OPTIONS: readonly (readonly [string, string])[] = [
  ["features.shard", "on"],
  ["features.shard-block-size", "64MB"],
  ["network.remote-dio", "enable"],
  ["performance.quick-read", "off"],
  ["performance.read-ahead", "off"],
  ["performance.io-cache", "off"],
  ["performance.stat-prefetch", "off"],
  ["performance.write-behind", "off"],
  ["performance.client-io-threads", "on"],
  ["cluster.eager-lock", "enable"],
  ["cluster.data-self-heal-algorithm", "full"],
  ["cluster.shd-max-threads", "8"],
  ["server.event-threads", "2"],
  ["client.event-threads", "2"],
];

export class GlusterCluster {
  readonly #folder: string;
  #daemon: Program | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(folder: string): Promise<GlusterCluster> {
    const gluster = new GlusterCluster(folder);
    for (const name of ["lib", "log", "b0", "b1", "b2"])
      fs.mkdirSync(path.join(folder, name), { recursive: true });
    try {
      await gluster.#start();
    } catch (error) {
      await gluster.kill();
      throw error;
    }
    return gluster;
  }

  /** What fio is to use. Its engine for many requests at once looks for answers now and then. */
  client(isSingle: boolean): readonly string[] {
    const engine = isSingle ? "gfapi" : "gfapi_async";
    return [
      ...[`--ioengine=${engine}`, `--volume=${VOLUME}`, `--brick=${ENCLOSED_ADDRESS}`],
      "--filename=image",
      // A brick answers when its file system has the write: this asks for it to be durable too.
      "--sync=1",
    ];
  }

  /** The daemons leave their parents, and say in files which processes they are. */
  get processes(): ReadonlyMap<string, readonly number[]> {
    const found = new Map<string, readonly number[]>();
    if (this.#daemon !== undefined) found.set("glusterd", [this.#daemon.pid]);
    const bricks = fs.readdirSync(this.#folder).filter((name) => /^b\d$/.test(name));
    for (const name of bricks) found.set(name, pidsIn(`vols/${VOLUME}`, `-${name}.pid`));
    return found.set("heal", pidsIn(`shd/${VOLUME}`, ".pid"));
  }

  /** Gives the second copy up for a new, empty one, which Gluster then fills by itself. */
  async replaceBrick(): Promise<void> {
    fs.mkdirSync(path.join(this.#folder, NEW_BRICK));
    const line = [this.#brick("b1"), this.#brick(NEW_BRICK), "commit", "force"];
    await this.#volume("replace-brick", VOLUME, ...line);
  }

  /** Until the new copy takes as much room as the good one and nothing is left to be healed. */
  async untilHealed(): Promise<void> {
    const good = path.join(this.#folder, "b0");
    const made = path.join(this.#folder, NEW_BRICK);
    await until("Gluster's heal", HEAL_MS_MAX, async () => {
      // One pass finds what the next one is to heal; by itself it would wait between them. While
      // the healer starts anew this fails, and is asked again.
      await runTool("gluster", ["--mode=script", "volume", "heal", VOLUME], { codes: [0, 1] });
      if (usedBytes(made) < usedBytes(good)) return false;
      const said = await this.#volume("heal", VOLUME, "statistics", "heal-count");
      const counts = [...said.matchAll(/Number of entries: (\d+)/g)].map((match) => match[1]);
      return counts.length === 3 && counts.every((count) => count === "0");
    });
  }

  /** What went to and from the new copy over its connections, which are still open. */
  async bytesOfNewBrick(): Promise<number> {
    const status = await this.#volume("status", VOLUME, "--xml");
    const node = status.slice(status.indexOf(path.join(this.#folder, NEW_BRICK)));
    const port = /<port>(\d+)<\/port>/.exec(node)?.[1];
    if (port === undefined) throw new Error(`Gluster tells no port of its new brick: ${status}`);
    const { stdout } = await runTool("ss", ["-tinH", `sport = :${port}`]);
    const counted = stdout.matchAll(/bytes_(?:received|sent):(\d+)/g);
    return [...counted].reduce((total, match) => total + Number(match[1]), 0);
  }

  async kill(): Promise<void> {
    for (const [name, pids] of this.processes)
      for (const pid of name === "glusterd" ? [] : pids)
        // A file outlives its process when that has crashed.
        if (fs.existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
    await this.#daemon?.kill();
  }

  async #start(): Promise<void> {
    const log = path.join(this.#folder, "log");
    for (const [from, to] of [
      [path.join(this.#folder, "lib"), "/var/lib/glusterd"],
      [log, "/var/log/glusterfs"],
    ] as const)
      await runTool("mount", ["--bind", from, to]);
    for (const name of ["gluster", "lock"]) fs.mkdirSync(`/run/${name}`, { recursive: true });
    const line = ["-N", "-l", path.join(log, "glusterd.log")];
    this.#daemon = new Program("glusterd", "glusterd", line);
    await until("glusterd to answer", READY_MS_MAX, async () => {
      const { code } = await runTool("gluster", ["--mode=script", "volume", "list"], {
        codes: [0, 1],
      });
      return code === 0;
    });
    const bricks = ["b0", "b1", "b2"].map((name) => this.#brick(name));
    const copies = ["replica", "2", "arbiter", "1"];
    await this.#volume("create", VOLUME, ...copies, ...bricks, "force");
    for (const [name, value] of OPTIONS) await this.#volume("set", VOLUME, name, value);
    await this.#volume("start", VOLUME);
    await until("Gluster's bricks", READY_MS_MAX, async () =>
      [...this.processes.values()].every((pids) => pids.length === 1),
    );
  }

  #brick(name: string): string {
    return `${ENCLOSED_ADDRESS}:${path.join(this.#folder, name)}`;
  }

  async #volume(...words: readonly string[]): Promise<string> {
    const line = ["--mode=script", "volume", ...words];
    return (await runTool("gluster", line, { timeoutMs: HEAL_MS_MAX })).stdout;
  }
}

function pidsIn(folder: string, ending: string): readonly number[] {
  const whole = path.join("/run/gluster", folder);
  if (!fs.existsSync(whole)) return [];
  return fs
    .readdirSync(whole)
    .filter((name) => name.endsWith(ending))
    .map((name) => Number(fs.readFileSync(path.join(whole, name), "utf8").trim()))
    .filter((pid) => pid > 0);
}

/** Of all files below, what they occupy. */
function usedBytes(folder: string): number {
  let total = 0;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true, recursive: true })) {
    // What stands beside them is hard links by identity, and the names of what is to be healed.
    if (!entry.isFile() || entry.path.includes("/.glusterfs")) continue;
    total += 512 * fs.statSync(path.join(entry.path, entry.name)).blocks;
  }
  return total;
}

async function until(what: string, limitMs: number, isSo: () => Promise<boolean>): Promise<void> {
  const limit = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > limit) throw new Error(`waited for ${what} in vain`);
    await pause(POLL_MS);
  }
}
