/** What a host does about certificates, put together: who joins, what is renewed and replaced. */
import type { Clock, Directory, Log } from "../../ports/index.ts";
import { AuthorityKeeper } from "./authority-keeper.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import { clusterKeyTextIn } from "../keys/cluster-key-file.ts";
import type { Closers } from "../closers.ts";
import type { DataPlaneThread } from "../data/data-plane-thread.ts";
import type { EventRing } from "../api/event-ring.ts";
import type { HostConfig } from "../host-config.ts";
import type { HostStart } from "../host-process.ts";
import { JoinDesk } from "./join-desk.ts";
import { checkDirectory, directoryTextOf } from "../directory/open-directory.ts";
import type { OpenedDirectory } from "../directory/open-directory.ts";
import { OtherHosts } from "../peers/other-hosts.ts";
import { readAuthorities, readTlsFolder } from "./tls-folder.ts";
import type { HostTls } from "./tls-folder.ts";

export interface HostCertificates {
  readonly others: OtherHosts;
  /** Undefined on hosts without certificates, as the others. */
  readonly desk?: JoinDesk;
  readonly keeper?: CertificateKeeper;
  /** Undefined in development clusters, too. */
  readonly authority?: AuthorityKeeper;
}

interface HostCertificatesWorld {
  readonly start: HostStart;
  readonly tls: HostTls | undefined;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventRing;
  readonly opened: OpenedDirectory;
  readonly thread: DataPlaneThread;
}

export function openTls({ cluster }: HostConfig, clock: Clock): HostTls | undefined {
  if (cluster?.tls === undefined) return undefined;
  return readTlsFolder(cluster.tls, cluster.id, clock.wallMs());
}

export function openCertificates(world: HostCertificatesWorld, closers: Closers): HostCertificates {
  const { start, tls, opened, thread, ...rest } = world;
  const { cluster, isApiPlain, name, keyFile } = start.config;
  const folder = cluster?.tls;
  const { directory, clusterId } = rest;
  const others = new OtherHosts({ directory, clusterId, tls: isApiPlain ? undefined : tls });
  if (cluster === undefined || folder === undefined || tls === undefined) return { others };
  const desk = new JoinDesk({
    ...{ ...rest, tls },
    authorities: () => readAuthorities(folder),
    directoryText: () => directoryTextOf(cluster, opened),
    clusterKeyText: () => clusterKeyTextIn(keyFile),
  });
  closers.add("joining", async () => desk.close());
  const keeper = new CertificateKeeper({ ...rest, hostName: name, tls, folder, desk, others });
  const stop = tls.trust.onChange(() => {
    // A thread that has ended shows nothing to anybody.
    thread.peer.call("setTrust", tls.trust.state).catch(() => undefined);
  });
  closers.add("certificates", async () => {
    stop();
    keeper.close();
  });
  // The process that keeps the directory of a development cluster is none of its hosts.
  if (start.cut !== undefined) return { others, desk, keeper };
  const { clock } = rest;
  const authority = new AuthorityKeeper({
    ...{ ...rest, tls, folder, certificates: keeper },
    mayUse: (credentials) => checkDirectory({ start, tls, clock }, opened, credentials),
    reread: async () => await opened.member?.reread(),
  });
  closers.add("authority", async () => authority.close());
  return { others, desk, keeper, authority };
}
