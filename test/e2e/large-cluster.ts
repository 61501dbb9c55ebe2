/**
 * The API of a cluster that is not there: 64 hosts, and 1,000 volumes, for the pages of the
 * dashboard.
 */
import * as http from "node:http";
import type { TestContext } from "node:test";
import type {
  DeviceView,
  HostView,
  StatsView,
  StatusView,
  VmView,
  VolumeView,
} from "../../src/host/index.ts";
import { DashboardFiles } from "../../src/host/dashboard-files.ts";

const HOSTS = 64;
export const VOLUMES = 1000;
const MACHINES = 300;
const TIB = 2 ** 40;

const nameOf = (host: number): string => `host${(host % HOSTS) + 1}`;
/** As in a real cluster the first eight digits, which is what pages show, are of one thing. */
const idOf = (kind: string, number: number): string =>
  `${kind}${number.toString(16).padStart(8 - kind.length, "0")}`.padEnd(32, "0");

function hostOf(number: number): HostView {
  return {
    ...{ name: nameOf(number), hostId: idOf("a", number), state: "up", attachedCount: 15 },
    ...{ apiAddress: `10.2.0.${number}:7400`, storageAddress: `10.1.0.${number}:7401` },
    ...{ storage: "up", management: "up", lease: "held", faultDomain: `rack${number % 8}` },
    ...(number === 0 ? { version: "0.1.0" } : {}),
    deviceCount: 4,
  };
}

function deviceOf(number: number): DeviceView {
  return {
    ...{ deviceId: idOf("d", number), host: nameOf(number), path: `/dev/nvme${number % 4}n1` },
    ...{ state: "online", adapter: "io_uring", capacityBytes: 4 * TIB, freeBytes: 2 * TIB },
    ...{ logicalBytes: 3 * TIB, uniqueBytes: TIB, physicalBytes: 2 * TIB, reclaimableBytes: 0 },
    ...{ checksumErrors: 0, readErrors: 0, damagedBlocks: 0, componentCount: 47 },
  };
}

function volumeOf(number: number): VolumeView {
  const [first, second, third] = [0, 1, 2].map((i) => {
    return { id: idOf(`c${i}`, number), host: nameOf(number + i) };
  });
  const components = [first!, second!, third!].map(({ id, host }) => ({
    ...{ componentId: id, host, device: idOf("d", number), state: "active", sequence: number },
  }));
  return {
    ...{ name: `volume-${number}`, objectId: idOf("0b", number), sizeBytes: TIB / 8, epoch: 4 },
    ...{ logicalBytes: TIB / 16, failuresToTolerate: 1, stripes: 1, accessible: true },
    owner: first!.host,
    tree: {
      kind: "mirror",
      children: [
        { kind: "component", componentId: first!.id },
        { kind: "component", componentId: second!.id },
        { kind: "witness", componentId: third!.id },
      ],
    },
    components,
  };
}

function machineOf(number: number): VmView {
  return {
    ...{ name: `vm-${number}`, state: "running", host: nameOf(number), cpuCount: 4, epoch: 1 },
    ...{ memoryBytes: 2 ** 33, volumes: [`volume-${number}`], networks: [], failureCount: 0 },
    ...{ isProtected: true, protection: "protected", priority: "medium", history: [] },
    ...{ isolation: "stand-still", storageLoss: "move" },
  };
}

function range<T>(count: number, make: (number: number) => T): readonly T[] {
  return Array.from({ length: count }, (_, number) => make(number));
}

function statsOf(round: number): StatsView {
  const count = (volume: number): StatsView["volumes"][number]["io"] => {
    const one = {
      ...{ count: round * (volume % 50), bytes: round * volume * 4096, totalMs: round * volume },
      ...{ faults: 0, buckets: [round, 0] },
    };
    return { reads: one, writes: one };
  };
  const traffic = { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0 };
  return {
    ...{ logicalBytes: 60 * TIB, uniqueBytes: 20 * TIB, physicalBytes: 40 * TIB, dedupRatio: 3 },
    ...{ capacityBytes: 1024 * TIB, freeBytes: 512 * TIB, reclaimableBytes: 0 },
    ...{ cache: {}, caches: [], journal: {}, destage: {}, scrub: {} },
    ...{ sharedMemory: {}, farCache: {}, memory: {} },
    ...{ rebuild: traffic, catchUp: traffic, latencyBoundsMs: [1] },
    volumes: range(VOLUMES, (number) => {
      return { name: `volume-${number}`, sizeBytes: TIB / 8, io: count(number)! };
    }),
  };
}

/** Resolves with its address. */
export async function serveLargeCluster(t: TestContext): Promise<string> {
  const files = new DashboardFiles();
  const hosts = range(HOSTS, hostOf);
  const status: StatusView = {
    ...{ health: "healthy", reasons: [], version: "0.1.0", clusterId: idOf("c1", 0) },
    ...{ uptimeMs: 1_000_000, hosts, devices: range(4 * HOSTS, deviceOf), volumeCount: VOLUMES },
    ...{ attachments: [], resyncs: [], conditions: [] },
    capacity: { capacityBytes: 1024 * TIB, freeBytes: 512 * TIB, usedBytes: 300 * TIB },
  };
  const sees = hosts.map(({ name }) => ({ host: name, storage: "up", management: "up" }));
  const answers: Readonly<Record<string, () => unknown>> = {
    "/v1/status": () => status,
    "/v1/volumes": () => ({ volumes }),
    "/v1/vms": () => ({ vms }),
    "/v1/stats": () => statsOf(++round),
    "/v1/resyncs": () => ({ resyncs: [] }),
    "/v1/events": () => ({ events: [], lastSequence: 0 }),
    "/v1/snapshots": () => ({ snapshots: [] }),
    "/v1/networks": () => ({
      hosts: hosts.map(({ name, storageAddress, apiAddress }) => ({
        ...{ name, storageAddress, managementAddress: apiAddress, sees },
      })),
    }),
  };
  const volumes = range(VOLUMES, volumeOf);
  const vms = range(MACHINES, machineOf);
  let round = 0;
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const answer = answers[pathname];
    if (answer === undefined) return void files.answer(request, response, pathname);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(answer()));
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const address = server.address();
  return typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "";
}
