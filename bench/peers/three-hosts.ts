/** A disk in two copies on three hosts, each a process or more on this machine. */
import * as path from "node:path";
import { isWanted } from "../benchmark.ts";
import type { Figure } from "../benchmark.ts";
import { fill, warm, WRITE_SET_BYTES } from "../fio-samples.ts";
import type { Workload } from "../fio-samples.ts";
import { startCeph, startOurs } from "../mirror.ts";
import type { MirrorTarget } from "../mirror.ts";
import { missingOf } from "./catalogue.ts";
import { GlusterCluster } from "./gluster.ts";
import { interleave, OURS } from "./interleave.ts";
import type { PeerOptions, Target } from "./interleave.ts";

const BOTH = ["read", "write"] as const;

export async function measureThreeHosts(
  folder: string,
  options: PeerOptions,
): Promise<readonly Figure[]> {
  const targets: Target[] = [];
  const add = async (name: string, start: () => Promise<Target>): Promise<void> => {
    if (!isWanted(name, options.targets)) return;
    if (name !== OURS && missingOf(name) !== undefined) return;
    options.progress(`starting and filling ${name}`);
    const target = await start();
    targets.push(target);
    await fill(target.address(FILLING), WRITE_SET_BYTES);
    await target.loaded.settle();
    await warm(target.address(FILLING));
  };
  try {
    await add(OURS, async () => fromMirror(OURS, await startOurs(folder)));
    await add("ceph", async () => fromMirror("ceph", await startCeph(folder)));
    await add("gluster", () => startGluster(path.join(folder, "gluster")));
    return await interleave(targets, options);
  } finally {
    for (const target of targets) await target.kill();
  }
}

const FILLING: Workload = { name: "fill", kind: "write", args: [] };

function fromMirror(name: string, target: MirrorTarget): Target {
  const { loaded, address } = target;
  return { name, kinds: BOTH, loaded, address: () => address, kill: () => target.kill() };
}

async function startGluster(folder: string): Promise<Target> {
  const gluster = await GlusterCluster.create(folder);
  const { processes } = gluster;
  return {
    name: "gluster",
    kinds: BOTH,
    loaded: {
      pids: [...processes.values()].flat(),
      processes,
      settle: () => Promise.resolve(),
    },
    address: ({ name }) => ({ args: gluster.client(name.endsWith("-qd1")), env: process.env }),
    kill: () => gluster.kill(),
  };
}
