/** The authority of a development cluster, and the certificates of its directory and its hosts. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeAuthority } from "../../platform/index.ts";
import type { Clock } from "../../ports/index.ts";
import { isRecord } from "../api/shape.ts";
import { newId } from "../state-dir.ts";
import {
  readAuthorities,
  readTlsFolder,
  tlsPaths,
  writeAuthority,
} from "../certificates/tls-folder.ts";
import { writeTlsFolder } from "../certificates/tls-folder.ts";
import type { HostTls, TlsPaths } from "../certificates/tls-folder.ts";

const ADDRESSES = ["127.0.0.1", "localhost"];

export class DevCertificates {
  readonly #clusterId: string;
  readonly #folder: string;
  readonly #clock: Clock;

  /** `folder` is the cluster's. */
  constructor(folder: string, clusterId: string, clock: Clock) {
    this.#clock = clock;
    this.#clusterId = clusterId;
    this.#folder = join(folder, "tls");
    if (readAuthorities(this.#folder).length === 0)
      writeAuthority(this.#folder, makeAuthority(clusterId, this.#clock.wallMs()));
  }

  /** Of the process that holds the directory. */
  get supervisor(): HostTls {
    this.#make(this.#folder, newId());
    return readTlsFolder(this.#folder, this.#clusterId, this.#clock.wallMs());
  }

  get supervisorPaths(): TlsPaths {
    this.#make(this.#folder, newId());
    return tlsPaths(this.#folder);
  }

  /** Of the host with this folder; made at its first start. Returns its folder of certificates. */
  ofHost(hostFolder: string): string {
    const folder = join(hostFolder, "tls");
    this.#make(folder, knownHostId(hostFolder) ?? newId());
    return folder;
  }

  #make(folder: string, hostId: string): void {
    if (existsSync(tlsPaths(folder).certificatePath)) return;
    const [authority] = readAuthorities(this.#folder);
    if (authority === undefined) throw new Error("the authority was made by the constructor");
    const host = { clusterId: this.#clusterId, hostId, addresses: ADDRESSES };
    writeTlsFolder(folder, authority, host, this.#clock.wallMs());
  }
}

/** A cluster that was made before there were certificates has hosts with ids already. */
function knownHostId(hostFolder: string): string | undefined {
  const file = join(hostFolder, "state", "host.json");
  if (!existsSync(file)) return undefined;
  const said: unknown = JSON.parse(readFileSync(file, "utf8"));
  const hostId = isRecord(said) ? said["hostId"] : undefined;
  return typeof hostId === "string" ? hostId : undefined;
}
