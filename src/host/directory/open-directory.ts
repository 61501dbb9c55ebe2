/** The directory of a host, as its configuration says. */
import { existsSync } from "node:fs";
import { CodedError } from "../../base/index.ts";
import {
  EmbeddedDirectory,
  RemoteDirectoryClient,
  ServedDirectory,
  createCluster,
  findCluster,
} from "../../cluster/index.ts";
import { EtcdDirectory, TlsTrust } from "../../platform/index.ts";
import type { TlsCredentials } from "../../platform/index.ts";
import type { Clock, Directory, MetadataStore } from "../../ports/index.ts";
import type { Closers } from "../closers.ts";
import { DirectoryMember } from "./directory-member.ts";
import type { ClusterConfig, MemberConfig } from "../host-config.ts";
import { hostNetwork } from "../peers/host-management.ts";
import { versionKnown } from "../peers/known-version.ts";
import type { HostStart } from "../host-process.ts";
import { MEMBERS_PREFIX } from "../certificates/join-desk.ts";
import { formatAddress } from "../names.ts";
import { newId } from "../state-dir.ts";
import { etcdTls, tlsPaths, writeRevoked } from "../certificates/tls-folder.ts";
import type { HostTls } from "../certificates/tls-folder.ts";

interface DirectoryWorld {
  readonly start: HostStart;
  readonly hostId: string;
  readonly tls: HostTls | undefined;
  readonly store: MetadataStore;
  readonly clock: Clock;
}

export interface OpenedDirectory {
  readonly directory: Directory;
  /** Where hosts of the cluster run the members of etcd. */
  readonly member: DirectoryMember | undefined;
}

export async function openDirectory(
  world: DirectoryWorld,
  closers: Closers,
): Promise<OpenedDirectory> {
  const { config } = world.start;
  const { member: memberConfig, directory: kept } = config.cluster ?? {};
  if (memberConfig !== undefined && kept?.kind === "etcd") {
    const member = await openMember(world, memberConfig, kept.endpoints);
    closers.add("directory", () => member.close());
    return { directory: member.directory, member };
  }
  const directory = await directoryOf(world);
  closers.add("directory", () => directory.close());
  if (kept?.kind === "own") {
    const { tls, clock } = world;
    const { log } = world.start;
    const network = hostNetwork(tls, log);
    const { address } = kept;
    const incarnation = newId();
    const served = await ServedDirectory.listen({
      ...{ directory, network, address, clock, incarnation, log },
    });
    closers.add("served directory", () => served.close());
  }
  return { directory, member: undefined };
}

async function openMember(
  { start, hostId, tls, clock }: DirectoryWorld,
  config: MemberConfig,
  endpoints: readonly string[],
): Promise<DirectoryMember> {
  const { cluster } = start.config;
  const paths = cluster?.tls === undefined ? undefined : tlsPaths(cluster.tls);
  if (tls !== undefined && paths !== undefined && !existsSync(paths.revokedPath)) {
    // etcd refuses everybody where the file is missing.
    const none = { hostIds: [], serials: [] };
    writeRevoked(cluster?.tls ?? "", none, tls.trust.credentials.keyPem, clock.wallMs());
  }
  const member = await DirectoryMember.open({
    ...{ config, endpoints, hostId, clusterId: cluster?.id ?? "" },
    tls: tls && paths && { client: etcdTls(tls.trust.credentials), server: paths },
    log: start.log,
    stopped: start.stopped,
  });
  tls?.trust.onChange(() => member.directory.setTls(etcdTls(tls.trust.credentials)));
  return member;
}

async function directoryOf({ start, tls, store, clock }: DirectoryWorld): Promise<Directory> {
  const { config, log } = start;
  const directory = config.cluster?.directory;
  if (directory === undefined || directory.kind === "own")
    return await EmbeddedDirectory.open(store, clock);
  if (directory.kind === "etcd") {
    const { endpoints } = directory;
    const etcd = new EtcdDirectory({
      endpoints,
      ...(tls && { tls: etcdTls(tls.trust.credentials) }),
    });
    tls?.trust.onChange(() => etcd.setTls(etcdTls(tls.trust.credentials)));
    return etcd;
  }
  const network = hostNetwork(tls, log);
  return new RemoteDirectoryClient({ network, clock, log, address: directory.address });
}

/**
 * Fails unless the directory can be reached with these certificates: one that is kept by others may
 * not believe an authority yet that hosts believe.
 */
export async function checkDirectory(
  { start, tls, clock }: Pick<DirectoryWorld, "start" | "tls" | "clock">,
  { member }: OpenedDirectory,
  credentials: TlsCredentials,
): Promise<void> {
  const { config, log } = start;
  const { directory, id = "" } = config.cluster ?? {};
  // Members of the cluster go through it with the hosts.
  if (tls === undefined || directory === undefined || directory.kind === "own") return;
  if (member !== undefined) return;
  const trust = new TlsTrust(credentials);
  const other =
    directory.kind === "etcd"
      ? new EtcdDirectory({ endpoints: directory.endpoints, tls: etcdTls(credentials) })
      : new RemoteDirectoryClient({
          network: hostNetwork({ ...tls, trust }, log),
          ...{ clock, log, address: directory.address },
        });
  try {
    await findCluster(other, id);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw new CodedError(
      {
        code: "directory-refused",
        message: `the directory does not go along with the new authority: ${error.message}`,
        hint: "Have its servers believe everything in tls/ca.crt, and show a certificate of it",
      },
      { cause: error },
    );
  } finally {
    await other.close();
  }
}

/** As joining hosts are to be told it. */
export function directoryTextOf({ directory }: ClusterConfig, { member }: OpenedDirectory): string {
  if (member !== undefined) return `${MEMBERS_PREFIX}${member.endpoints.join(",")}`;
  if (directory.kind === "etcd") return directory.endpoints.join(",");
  return `served:${formatAddress(directory.address)}`;
}

export async function ensureCluster(
  directory: Directory,
  clusterId: string,
  name: string,
  clock: Clock,
): Promise<void> {
  if ((await findCluster(directory, clusterId, versionKnown)) !== undefined) return;
  const createdMs = Math.round(clock.wallMs());
  try {
    await createCluster(directory, { clusterId, name, createdMs }, versionKnown);
  } catch (error) {
    // Hosts of a new cluster start at the same time: one of them makes its record.
    if (!(error instanceof CodedError) || error.code !== "cluster-exists") throw error;
  }
}
