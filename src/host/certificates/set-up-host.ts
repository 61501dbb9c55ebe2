/**
 * `drystone init` and `drystone join`: the folder of a host, with its certificates and its
 * configuration. Everything that can be wrong here is found before anything is written or a token
 * is used; the configuration is written last, so that where it is, all is.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { isCertifiable, makeAuthority, makePrivateKey, NodeClock } from "../../platform/index.ts";
import {
  makeClusterKey,
  parseClusterKeys,
  readClusterKeys,
  writeClusterKeys,
} from "../keys/cluster-key-file.ts";
import { markFirstMember } from "../directory/directory-member.ts";
import { writeDurably } from "../durable-file.ts";
import { parseHostConfig } from "../host-config.ts";
import { askToJoin } from "./join-client.ts";
import { joinProof, MEMBERS_PREFIX, parseToken } from "./join-desk.ts";
import { formatAddress, parseAddress } from "../names.ts";
import { newId } from "../state-dir.ts";
import { writeAuthority, writeCredentials, writeTlsFolder } from "./tls-folder.ts";
import { publicKeyOf } from "../../platform/index.ts";

const DIR_DEFAULT = "/var/lib/drystone";
const PORT_DEFAULT = 7400;
const MEMBER_FOLDER = "directory";

export interface SetUpOptions {
  readonly address: string;
  readonly devices: readonly string[];
  readonly name?: string;
  readonly dir?: string;
  readonly port?: number;
  readonly storageAddress?: string;
  readonly faultDomain?: string;
  readonly deviceSizeBytes?: number;
  /** Where the cluster key is kept; one that is there is used. */
  readonly keyFile?: string;
}

export interface InitOptions extends SetUpOptions {
  /** URLs of etcd; "etcd" for members that the first three hosts run. Default: this host's own. */
  readonly directory?: string;
}

export interface JoinOptions extends SetUpOptions {
  /** ADDRESS:PORT of a host's API. */
  readonly cluster: string;
  readonly token: string;
}

export interface SetUp {
  readonly clusterId: string;
  readonly hostId: string;
  readonly name: string;
  /** The configuration, for `host run`. */
  readonly config: string;
  /** The API on this machine. */
  readonly socket: string;
  /** Where the cluster key is, or belongs. */
  readonly keyFile: string;
}

/** Fails with `config-invalid`, `folder-in-use` or `state-unwritable`. */
export function initCluster(options: InitOptions): SetUp {
  const clusterId = newId();
  const plan = new HostPlan(options);
  const own = plan.addressWith(options.address, 2);
  const isMember = options.directory === "etcd";
  const directory = isMember
    ? `${MEMBERS_PREFIX}https://${own}`
    : (options.directory ?? `own:${own}`);
  if (isMember) checkEtcd();
  plan.check(clusterId, directory);
  plan.makeFolder();
  if (isMember) plan.beginDirectory();
  const nowMs = new NodeClock().wallMs();
  const authority = makeAuthority(clusterId, nowMs);
  const hostId = newId();
  writeAuthority(plan.tls, authority);
  plan.makeClusterKey();
  writeTlsFolder(plan.tls, authority, { clusterId, hostId, addresses: plan.addresses }, nowMs);
  return plan.finish(clusterId, hostId, directory);
}

/** As `initCluster`, and as the cluster refuses. */
export async function joinCluster(options: JoinOptions): Promise<SetUp> {
  const plan = new HostPlan(options);
  const { fingerprint } = parseToken(options.token);
  const cluster = parseAddress(options.cluster);
  // With any cluster: the real one is known only once the token is used.
  plan.check("0".repeat(32), "served:127.0.0.1:1");
  plan.makeFolder();
  const keyPem = makePrivateKey();
  const request = {
    token: options.token,
    name: plan.name,
    publicKeyPem: publicKeyOf(keyPem),
    proof: joinProof(options.token, keyPem),
    addresses: plan.addresses,
  };
  const { answer, caPem, hostId } = await askToJoin(cluster, fingerprint, request);
  const { clusterId, certificatePem, directory } = answer;
  plan.keepClusterKey(answer.clusterKey);
  writeCredentials(plan.tls, { caPem, certificatePem, keyPem });
  return plan.finish(clusterId, hostId, directory);
}

/** What is going to be written. */
class HostPlan {
  readonly name: string;
  readonly tls: string;
  readonly #folder: string;
  readonly #options: SetUpOptions;

  constructor(options: SetUpOptions) {
    this.#options = options;
    this.name = options.name ?? hostname();
    this.#folder = options.dir ?? DIR_DEFAULT;
    this.tls = join(this.#folder, "tls");
  }

  get addresses(): readonly string[] {
    const { address, storageAddress } = this.#options;
    const all = [address, ...(storageAddress === undefined ? [] : [storageAddress])];
    return [...new Set([...all, "127.0.0.1", "localhost"])];
  }

  get #configPath(): string {
    return join(this.#folder, "host.json");
  }

  /**
   * Ports are one after the other: API, storage, directory, links on the management network,
   * members of the directory among themselves.
   */
  addressWith(host: string, index: number): string {
    const port = (this.#options.port ?? PORT_DEFAULT) + index;
    return formatAddress({ kind: "tcp", host, port });
  }

  check(clusterId: string, directory: string): void {
    const { address, storageAddress = address, devices } = this.#options;
    for (const one of [address, storageAddress]) {
      if (!isCertifiable(one)) throw addressInvalid(one);
    }
    for (const path of devices) {
      if (existsSync(path)) continue;
      const message = `the device ${path} does not exist`;
      const hint = "Make the directory, or check the name with lsblk";
      throw new CodedError({ code: "device-missing", message, hint });
    }
    // The rules of a configuration are those of the host that reads it.
    parseHostConfig(this.#configText(clusterId, directory), this.#configPath);
  }

  /** Before a token is used: nothing must be in the way afterwards. */
  makeFolder(): void {
    if (existsSync(this.#configPath) || existsSync(join(this.#folder, "state")))
      throw new CodedError({
        code: "folder-in-use",
        message: `a host was set up in ${this.#folder} already`,
        hint: "Give another folder with --dir; or remove it, with everything that the host knows",
      });
    try {
      mkdirSync(this.tls, { recursive: true, mode: 0o700 });
      writeDurably(this.tls, "writable", "");
      if (existsSync(this.#keyFile)) readClusterKeys(this.#keyFile);
      else accessSync(dirname(this.#keyFile), constants.W_OK);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      const message = `${this.#folder} cannot be made, with its keys: ${errorText(error)}`;
      const hint = "Give another folder with --dir or another --key-file, or run as root";
      throw new CodedError({ code: "state-unwritable", message, hint }, { cause: error });
    }
  }

  /** Unless one is there already. */
  makeClusterKey(): void {
    if (!existsSync(this.#keyFile)) makeClusterKey(this.#keyFile);
  }

  /** What the cluster has told, which may be nothing; a key that is there already stays. */
  keepClusterKey(text: string | undefined): void {
    const path = this.#keyFile;
    if (text !== undefined && !existsSync(path))
      writeClusterKeys(path, parseClusterKeys(text, path));
  }

  /** This host is the first one of those that run the directory. */
  beginDirectory(): void {
    markFirstMember(join(this.#folder, MEMBER_FOLDER));
  }

  finish(clusterId: string, hostId: string, directory: string): SetUp {
    writeDurably(this.#folder, "host.json", this.#configText(clusterId, directory));
    const config = this.#configPath;
    const socket = join(this.#folder, "state", "api.sock");
    return { clusterId, hostId, name: this.name, config, socket, keyFile: this.#keyFile };
  }

  /** Beside the state, so that it can be moved to other media. */
  get #keyFile(): string {
    return resolve(this.#options.keyFile ?? join(this.#folder, "cluster.key"));
  }

  #configText(clusterId: string, directory: string): string {
    const { address, storageAddress = address, faultDomain, devices } = this.#options;
    const member = {
      folder: MEMBER_FOLDER,
      clientAddress: this.addressWith(address, 2),
      peerAddress: this.addressWith(address, 4),
    };
    const isMember = directory.startsWith(MEMBERS_PREFIX);
    const config = {
      name: this.name,
      stateDir: "state",
      apiAddress: this.addressWith(address, 0),
      devices: devices.map((path) => ({ path, ...this.#sizeOf(path) })),
      keyFile: this.#keyFile,
      cluster: {
        id: clusterId,
        directory: isMember ? directory.slice(MEMBERS_PREFIX.length) : directory,
        ...(isMember ? { member } : {}),
        storageAddress: this.addressWith(storageAddress, 1),
        ...(storageAddress === address ? {} : { managementAddress: this.addressWith(address, 3) }),
        tls: "tls",
        ...(faultDomain === undefined ? {} : { faultDomain }),
      },
    };
    return `${JSON.stringify(config, undefined, 2)}\n`;
  }

  #sizeOf(path: string): { readonly size?: string } {
    const { deviceSizeBytes } = this.#options;
    const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
    return deviceSizeBytes === undefined || !isFolder ? {} : { size: String(deviceSizeBytes) };
  }
}

/** Before anything is written. */
function checkEtcd(): void {
  const { error } = spawnSync("etcd", ["--version"], { stdio: "ignore" });
  if (error === undefined) return;
  throw new CodedError(
    {
      code: "etcd-missing",
      message: `etcd cannot be started: ${errorText(error)}`,
      hint: "Install it (Debian package etcd-server); or leave --directory out: this host keeps the directory then",
    },
    { cause: error },
  );
}

function addressInvalid(address: string): CodedError {
  return new CodedError({
    code: "address-invalid",
    message: `"${address.slice(0, 80)}" is not an address of a host`,
    hint: "Give an IP address or a DNS name without a port",
  });
}
