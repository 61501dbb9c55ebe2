/** The adapters of real hosts keep what the ports promise. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../base/index.ts";
import type { DiskMemory, MetricLabels } from "../ports/index.ts";
import { clockConformance } from "../../test/conformance/clock.ts";
import { DISK_CONFORMANCE_BYTES, diskConformance } from "../../test/conformance/disk.ts";
import type { DiskWorld } from "../../test/conformance/disk.ts";
import { digestsConformance } from "../../test/conformance/digests.ts";
import { metadataStoreConformance } from "../../test/conformance/metadata-store.ts";
import { metricsConformance } from "../../test/conformance/metrics.ts";
import { networkConformance } from "../../test/conformance/network.ts";
import type { World } from "../../test/conformance/world.ts";
import { hostCredentials, TEST_CLUSTER } from "../../test/support/credentials.ts";
import {
  LmdbMetadataStore,
  MemoryPool,
  NativeDigests,
  NodeClock,
  PrometheusMetrics,
  StreamNetwork,
  TlsNetwork,
  TlsTrust,
  openDisk,
} from "./index.ts";
import type { DiskKind, DiskOptions } from "./index.ts";

/** Timers of ours let the process end, so something else has to keep a test alive. */
function nothing(): World {
  const keeper = setInterval(() => {}, 60_000);
  return { run: (work) => work(), dispose: async () => clearInterval(keeper) };
}

/** A folder of its own for each test. */
function folder(): { path: string; world: World } {
  const path = mkdtempSync("/var/tmp/drystone-conformance-");
  const dispose = async (): Promise<void> => rmSync(path, { recursive: true });
  return { path, world: { run: (work) => work(), dispose } };
}

function diskWorld(path: string, world: World, options: DiskOptions): DiskWorld {
  const disk = openDisk(path, { createSizeBytes: DISK_CONFORMANCE_BYTES, ...options });
  return {
    ...world,
    disk,
    reopen: async () => openDisk(path, options),
    dispose: async () => {
      await disk.close();
      await world.dispose();
    },
  };
}

for (const kind of ["io_uring", "node-fs"] satisfies DiskKind[]) {
  for (const direct of [false, true]) {
    diskConformance(`${kind}, a file${direct ? ", direct" : ""}`, async () => {
      const { path, world } = folder();
      return diskWorld(join(path, "disk"), world, { kind, direct });
    });
  }

  if (mayUseLoopDevices()) {
    diskConformance(
      `${kind}, a block device`,
      async () => {
        const { path, world } = folder();
        const file = join(path, "backing");
        writeFileSync(file, "");
        truncateSync(file, DISK_CONFORMANCE_BYTES);
        const device = losetup("--find", "--show", file);
        const dispose = async (): Promise<void> => {
          losetup("--detach", device);
          await world.dispose();
        };
        return diskWorld(device, { ...world, dispose }, { kind });
      },
      { isThin: false },
    );
  }
}

for (const log of [undefined, { bytes: 8 << 20, tableBytes: 1 << 20, mayBegin: true }]) {
  metadataStoreConformance(`LmdbMetadataStore ${log ? "with" : "without"} a log`, async () => {
    const { path, world } = folder();
    const open = async (): Promise<LmdbMetadataStore> =>
      await LmdbMetadataStore.open(join(path, "metadata"), log ? { log } : {});
    const store = await open();
    return {
      ...world,
      store,
      reopen: open,
      dispose: async () => {
        await store.close();
        await world.dispose();
      },
    };
  });
}

clockConformance("NodeClock", async () => ({ ...nothing(), clock: new NodeClock() }));

for (const hasAddress of [true, false]) {
  digestsConformance(
    `NativeDigests, memory ${hasAddress ? "with" : "without"} address`,
    async () => {
      const digests = new NativeDigests();
      const pool = new MemoryPool();
      const heap = (lengthBytes: number): DiskMemory => ({
        bytes: new Uint8Array(lengthBytes),
        handle: { address: 0, lengthBytes },
      });
      return {
        run: (work) => work(),
        digests,
        allocate: (lengthBytes) => (hasAddress ? pool.allocate(lengthBytes) : heap(lengthBytes)),
        dispose: async () => await digests.close(),
      };
    },
  );
}

metricsConformance("PrometheusMetrics", async () => {
  const metrics = new PrometheusMetrics();
  const read = (name: string, labels: MetricLabels = {}): number | undefined => {
    const wanted = [name, ...Object.entries(labels).map(([key, value]) => `${key}="${value}"`)];
    for (const line of metrics.exposition().split("\n")) {
      const parts = /^([a-z_]+)(?:\{(.*)\})? (.+)$/.exec(line);
      if (parts === null) continue;
      const found = [parts[1]!, ...(parts[2]?.split(",") ?? [])];
      if (found.toSorted().join() === wanted.toSorted().join()) return Number(parts[3]);
    }
    return undefined;
  };
  return { ...nothing(), metrics, read };
});

networkConformance("StreamNetwork over tcp", async () => ({
  ...nothing(),
  network: new StreamNetwork(),
  freshAddress: () => ({ kind: "tcp", host: "127.0.0.1", port: 0 }),
}));

networkConformance("TlsNetwork over tcp", async () => ({
  ...nothing(),
  network: new TlsNetwork({ clusterId: TEST_CLUSTER, trust: new TlsTrust(hostCredentials("1")) }),
  freshAddress: () => ({ kind: "tcp", host: "127.0.0.1", port: 0 }),
}));

networkConformance("StreamNetwork over unix", async () => {
  const { path, world } = folder();
  let count = 0;
  return {
    ...world,
    network: new StreamNetwork(),
    freshAddress: () => ({ kind: "unix", path: join(path, `socket-${count++}`) }),
    leaveStale: async (address) => {
      assert(address.kind === "unix", "a path");
      const listenAndDie = `require("node:net").createServer()
        .listen(${JSON.stringify(address.path)}, () => process.kill(process.pid, "SIGKILL"))`;
      spawnSync(process.execPath, ["-e", listenAndDie]);
    },
  };
});

function losetup(...parameters: string[]): string {
  return execFileSync("losetup", parameters, { encoding: "utf8" }).trim();
}

function mayUseLoopDevices(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    losetup("--list");
    return true;
  } catch {
    return false;
  }
}
