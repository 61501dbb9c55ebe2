/**
 * The directory of a development cluster: an embedded one in this process, or three members of
 * etcd. Each host reaches it through a gate of its own, so that one host can be cut off and the
 * others not.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CodedError } from "../../base/index.ts";
import { EmbeddedDirectory, ServedDirectory } from "../../cluster/index.ts";
import {
  CuttableNetwork,
  EtcdServer,
  LmdbMetadataStore,
  StreamNetwork,
  TlsNetwork,
} from "../../platform/index.ts";
import type { ByteStream, Clock, Log, NetworkAddress } from "../../ports/index.ts";
import type { DevCertificates } from "./dev-certificates.ts";
import { formatAddress } from "../names.ts";
import { newId } from "../state-dir.ts";

const HOST = "127.0.0.1";
const MEMBERS = 3;
const HEALTHY_MS_MAX = 60_000;

export type DevDirectoryKind = "embedded" | "etcd";

export interface DevDirectoryWorld {
  readonly kind: DevDirectoryKind;
  readonly folder: string;
  readonly clusterId: string;
  readonly certificates: DevCertificates;
  /** The first of seven ports of the directory. */
  readonly firstPort: number;
  readonly clock: Clock;
  readonly log: Log;
  /** What was opened, to be closed in the opposite order. */
  readonly closers: (() => Promise<void>)[];
}

/** Where the directory can be reached. Fails with `dev-directory-differs`, or as etcd does. */
export async function startDevDirectory(
  world: DevDirectoryWorld,
): Promise<readonly NetworkAddress[]> {
  checkKind(world);
  return world.kind === "etcd" ? await startEtcd(world) : [await startEmbedded(world)];
}

/** What the hosts of the folder know is in one of the two, and not in the other. */
function checkKind({ kind, folder }: DevDirectoryWorld): void {
  const file = join(folder, "directory-kind");
  const isEmbedded = existsSync(join(folder, "directory", "data.mdb"));
  const before = existsSync(file) ? readFileSync(file, "utf8").trim() : isEmbedded && "embedded";
  if (before !== false && before !== kind)
    throw new CodedError({
      code: "dev-directory-differs",
      message: `the development cluster in ${folder} has the directory ${before}, not ${kind}`,
      hint: `Start it with --directory ${before}, or give another folder with --dir`,
    });
  writeFileSync(file, `${kind}\n`);
}

async function startEmbedded(world: DevDirectoryWorld): Promise<NetworkAddress> {
  const { folder, clock, log, closers, firstPort, certificates } = world;
  const path = join(folder, "directory", "data.mdb");
  mkdirSync(join(folder, "directory"), { recursive: true, mode: 0o700 });
  const store = await LmdbMetadataStore.open(path, { mustExist: false });
  closers.push(() => store.close());
  const directory = await EmbeddedDirectory.open(store, clock);
  closers.push(() => directory.close());
  const address = { kind: "tcp", host: HOST, port: firstPort } as const;
  const served = await ServedDirectory.listen({
    directory,
    network: new TlsNetwork({ ...certificates.supervisor, log }),
    address,
    clock,
    incarnation: newId(),
    log,
  });
  closers.push(() => served.close());
  return address;
}

async function startEtcd(world: DevDirectoryWorld): Promise<readonly NetworkAddress[]> {
  const { folder, clusterId, log, closers, firstPort } = world;
  // Nobody is removed from a development cluster: its etcd has no list of whom to refuse.
  const { certificatePath, keyPath, caPath } = world.certificates.supervisorPaths;
  const tls = { certificatePath, keyPath, caPath };
  const members = Array.from({ length: MEMBERS }, (_, index) => ({
    name: `m${index + 1}`,
    address: { kind: "tcp", host: HOST, port: firstPort + 1 + index } as const,
    peerUrl: `https://${HOST}:${firstPort + 1 + MEMBERS + index}`,
  }));
  const initialCluster = Object.fromEntries(members.map(({ name, peerUrl }) => [name, peerUrl]));
  const servers: EtcdServer[] = [];
  for (const { name, address, peerUrl } of members) {
    const server = await EtcdServer.start({
      name,
      dataDir: join(folder, "etcd", name),
      clientUrl: `https://${formatAddress(address)}`,
      peerUrl,
      initialCluster,
      clusterToken: clusterId,
      clientTls: tls,
      peerTls: tls,
      log,
    });
    closers.push(() => server.stop());
    servers.push(server);
  }
  await Promise.all(servers.map((server) => server.healthy(HEALTHY_MS_MAX)));
  return members.map(({ address }) => address);
}

/** The way of one host to the directory. */
export class DirectoryGate {
  readonly #network = new CuttableNetwork(new StreamNetwork());
  readonly #targets: readonly NetworkAddress[];

  private constructor(targets: readonly NetworkAddress[]) {
    this.#targets = targets;
  }

  /** Listens for each target at a port of its own, from `firstPort` on. */
  static async open(
    targets: readonly NetworkAddress[],
    firstPort: number,
    closers: (() => Promise<void>)[],
  ): Promise<DirectoryGate> {
    const gate = new DirectoryGate(targets);
    const network = new StreamNetwork();
    for (const [index, target] of targets.entries()) {
      const address = { kind: "tcp", host: HOST, port: firstPort + index } as const;
      const listener = await network.listen(address, (stream) => gate.#pass(stream, target));
      closers.push(() => listener.close());
    }
    return gate;
  }

  setCut(isCut: boolean): void {
    this.#network.cut(isCut ? this.#targets.map(formatAddress) : []);
  }

  #pass(from: ByteStream, target: NetworkAddress): void {
    this.#network.connect(target).then(
      (to) => {
        pump(from, to);
        pump(to, from);
      },
      // Whoever connected sees the connection close, as it would without the gate.
      () => from.destroy(),
    );
  }
}

/** Hands on what arrives at `from`, its end and its being closed. */
function pump(from: ByteStream, to: ByteStream): void {
  from.start({
    data: (bytes) => {
      if (!to.write(bytes.slice(), -1)) from.pause();
    },
    written: () => {},
    // There is room in `from` again for what the other way brings.
    drained: () => to.resume(),
    ended: () => to.end(),
    closed: () => to.destroy(),
  });
}
