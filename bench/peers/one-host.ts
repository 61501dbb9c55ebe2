/** Servers of a disk of this machine, over NBD: the same client, the same storage, as durable. */
import * as fs from "node:fs";
import * as path from "node:path";
import { NbdkitFile, QemuNbd, QemuStorageDaemon } from "../../test/e2e/block-server.ts";
import type { BlockServer } from "../../test/e2e/block-server.ts";
import { DevHost } from "../../test/e2e/harness.ts";
import { destagedStats } from "../../test/e2e/stats.ts";
import { isWanted } from "../benchmark.ts";
import type { Figure } from "../benchmark.ts";
import { fill, VOLUME_BYTES, warm, WORKING_SET_BYTES, WRITE_SET_BYTES } from "../fio-samples.ts";
import type { Workload } from "../fio-samples.ts";
import { missingOf } from "./catalogue.ts";
import { interleave, OURS } from "./interleave.ts";
import type { PeerOptions, Target } from "./interleave.ts";

type Kind = Workload["kind"];
type Maker = (folder: string, isDurable: boolean) => BlockServer;

/** Each twice: reads may come from the page cache, writes count when they are durable. */
const MAKERS: ReadonlyMap<string, Maker> = new Map<string, Maker>([
  ["qemu-nbd", (at, isDurable) => new QemuNbd(at, isDurable ? "directsync" : "writeback")],
  ["qemu-storage-daemon", (at, isDurable) => new QemuStorageDaemon(at, isDurable)],
  ["nbdkit", (at, isDurable) => new NbdkitFile(at, isDurable)],
]);

export async function measureOneHost(
  folder: string,
  options: PeerOptions,
): Promise<readonly Figure[]> {
  const targets: Target[] = [];
  try {
    if (isWanted(OURS, options.targets)) {
      const host = await DevHost.create(path.join(folder, OURS));
      fs.mkdirSync(host.folder);
      const settle = async (): Promise<void> => void (await destagedStats(host));
      targets.push(await startServer(host, ["read", "write"], settle));
    }
    for (const [name, make] of MAKERS) {
      if (!isWanted(name, options.targets) || missingOf(name) !== undefined) continue;
      for (const kind of ["read", "write"] as const) {
        const server = make(path.join(folder, `${name}-${kind}`), kind === "write");
        targets.push(await startServer(server, [kind], () => Promise.resolve()));
      }
    }
    return await interleave(targets, options);
  } finally {
    for (const target of targets) await target.kill();
  }
}

async function startServer(
  server: BlockServer,
  kinds: readonly Kind[],
  settle: () => Promise<void>,
): Promise<Target> {
  try {
    await server.start();
    const address = await server.volume("bench", VOLUME_BYTES);
    await fill(address, kinds.includes("write") ? WRITE_SET_BYTES : WORKING_SET_BYTES);
    await settle();
    if (kinds.includes("read")) await warm(address);
    return {
      ...{ name: server.name, kinds, loaded: { pids: server.pids, settle } },
      address: () => address,
      kill: () => server.kill(),
    };
  } catch (error) {
    await server.kill();
    throw error;
  }
}
