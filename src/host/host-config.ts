/**
 * The configuration file of `drystone host run`: JSON, checked whole before anything is touched.
 * Every problem is named in one go; relative paths count from the file's own directory.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { CodedError, errorText, parseSize } from "../base/index.ts";
import type { NetworkAddress } from "../ports/index.ts";
import { hostNameInvalid, parseAddress } from "./names.ts";
import { checkShape } from "./api/shape.ts";
import type { ObjectShape, TextShape } from "./api/shape.ts";

export const API_ADDRESS_DEFAULT = "127.0.0.1:7400";
export const MEMORY_BYTES_DEFAULT: number = 192 * 2 ** 20;
const MEMORY_BYTES_MIN = 32 * 2 ** 20;
const DEVICE_SIZE_BYTES_MIN = 256 * 2 ** 20;
const CONFIG_BYTES_MAX = 1 << 20;
const PATH_LENGTH_MAX = 4096;
export const BOOT_FOLDERS_DEFAULT: readonly string[] = [
  "/boot",
  "/usr/share",
  "/var/lib/drystone/boot",
];
const HOLD_SECONDS_DEFAULT = 60;
const HOLD_SECONDS_MAX = 3600;
const DIRECTORY_RULE = "must be URLs of etcd, served:ADDRESS:PORT or own:ADDRESS:PORT";

export interface HostConfig {
  readonly name: string;
  readonly stateDir: string;
  readonly apiAddress: { readonly host: string; readonly port: number };
  /** The API is without TLS, and for everybody on this machine. */
  readonly isApiPlain: boolean;
  readonly devices: readonly DeviceConfig[];
  /** For journals' unsettled blocks and caches of all devices together. */
  readonly memoryBytes: number;
  /** The cluster key, for encrypted volumes. */
  readonly keyFile: string;
  /** Machines boot from files below them alone, as `BootFiles` has it. */
  readonly bootFolders: readonly string[];
  /** Undefined on a host that is alone: it keeps its own directory. */
  readonly cluster: ClusterConfig | undefined;
}

export interface ClusterConfig {
  /** 32 hexadecimal digits, the same on every host. */
  readonly id: string;
  readonly directory: DirectoryConfig;
  /** Where components are served to other hosts. */
  readonly storageAddress: string;
  /** Of the links on the management network; undefined where that is not a second one. */
  readonly managementAddress: string | undefined;
  /** What fails together; by default the host itself. */
  readonly faultDomain: string | undefined;
  /** How long requests wait while the host cannot serve an attached volume, before they fail. */
  readonly holdMs: number;
  /** The folder of certificates. Undefined where everything is on the loopback interface. */
  readonly tls: string | undefined;
  /** Undefined where hosts of the cluster do not run the members of etcd. */
  readonly member: MemberConfig | undefined;
}

/** Of the directory's member that this host runs if it is one of the first three. */
export interface MemberConfig {
  readonly folder: string;
  /** `ADDRESS:PORT`. */
  readonly clientAddress: string;
  readonly peerAddress: string;
}

export type DirectoryConfig =
  | { readonly kind: "etcd"; readonly endpoints: readonly string[] }
  | { readonly kind: "served"; readonly address: NetworkAddress }
  /** Kept by this host, and served to the others. */
  | { readonly kind: "own"; readonly address: NetworkAddress };

export interface DeviceConfig {
  /** A directory or a block device. */
  readonly path: string;
  /** For a new device in a directory; otherwise what the file system has free. */
  readonly sizeBytes?: number;
}

/** The file as it is written. Sizes are texts such as "10G". */
interface HostConfigFile {
  readonly name?: string;
  readonly stateDir: string;
  readonly apiAddress?: string;
  readonly apiPlain?: boolean;
  readonly devices: readonly DeviceConfigFile[];
  readonly memory?: string;
  readonly keyFile?: string;
  readonly bootFolders?: readonly string[];
  readonly cluster?: ClusterConfigFile;
}

interface ClusterConfigFile {
  readonly id: string;
  readonly directory: string;
  readonly storageAddress: string;
  readonly managementAddress?: string;
  readonly faultDomain?: string;
  readonly holdSeconds?: number;
  readonly tls?: string;
  readonly member?: MemberConfig;
}

interface DeviceConfigFile {
  readonly path: string;
  readonly size?: string;
}

export const hostConfigShape: ObjectShape<HostConfigFile> = {
  kind: "object",
  description: "The configuration of a host",
  fields: {
    name: {
      optional: true,
      shape: {
        kind: "text",
        lengthMax: PATH_LENGTH_MAX,
        invalid: hostNameInvalid,
        description: "The host's name (default: the machine's)",
        example: "h1",
      },
    },
    stateDir: {
      optional: false,
      shape: path("Where the host keeps its ids, directory and events", "/var/lib/drystone"),
    },
    apiAddress: {
      optional: true,
      shape: {
        kind: "text",
        lengthMax: PATH_LENGTH_MAX,
        invalid: apiAddressInvalid,
        description: `ADDRESS:PORT of the API (default: ${API_ADDRESS_DEFAULT})`,
        example: API_ADDRESS_DEFAULT,
      },
    },
    apiPlain: {
      optional: true,
      shape: {
        kind: "boolean",
        description: "API without TLS, on 127.0.0.1 only (default: where there is no cluster.tls)",
        example: true,
      },
    },
    devices: {
      optional: false,
      shape: {
        kind: "list",
        countMax: 64,
        description: "What the host gives to the cluster",
        of: {
          kind: "object",
          description: "A device",
          fields: {
            path: { optional: false, shape: path("A directory or a block device", "/dev/sdb") },
            size: {
              optional: true,
              shape: size(
                "Size of a new device in a directory (default: free space)",
                "100G",
                DEVICE_SIZE_BYTES_MIN,
              ),
            },
          },
        },
      },
    },
    cluster: {
      optional: true,
      shape: {
        kind: "object",
        description: "The cluster that the host is part of (default: it is alone)",
        fields: {
          id: {
            optional: false,
            shape: {
              kind: "text",
              lengthMax: 32,
              invalid: clusterIdInvalid,
              description: "The cluster's id, the same on every host",
              example: "00112233445566778899aabbccddeeff",
            },
          },
          directory: {
            optional: false,
            shape: {
              kind: "text",
              lengthMax: PATH_LENGTH_MAX,
              invalid: (text) => (directoryOf(text) === undefined ? DIRECTORY_RULE : undefined),
              description:
                "URLs of etcd with commas between; own:ADDRESS:PORT: kept by this host; served:ADDRESS:PORT: by another",
              example: "https://10.0.0.1:2379,https://10.0.0.2:2379",
            },
          },
          storageAddress: {
            optional: false,
            shape: {
              kind: "text",
              lengthMax: PATH_LENGTH_MAX,
              invalid: apiAddressInvalid,
              description: "ADDRESS:PORT where other hosts reach this one's components",
              example: "10.0.0.1:7401",
            },
          },
          managementAddress: {
            optional: true,
            shape: {
              kind: "text",
              lengthMax: PATH_LENGTH_MAX,
              invalid: apiAddressInvalid,
              description:
                "ADDRESS:PORT where other hosts find this one on a second network (default: there is one network)",
              example: "10.0.0.1:7403",
            },
          },
          faultDomain: {
            optional: true,
            shape: {
              kind: "text",
              lengthMax: 64,
              description: "What fails together with this host (default: nothing else)",
              example: "rack1",
            },
          },
          holdSeconds: {
            optional: true,
            shape: {
              kind: "integer",
              min: 1,
              max: HOLD_SECONDS_MAX,
              description: `How long requests wait for a volume that cannot be served (default: ${HOLD_SECONDS_DEFAULT})`,
              example: HOLD_SECONDS_DEFAULT,
            },
          },
          tls: {
            optional: true,
            shape: path(
              "The folder with the host's certificates; without one only 127.0.0.1 is allowed",
              "/var/lib/drystone/tls",
            ),
          },
          member: {
            optional: true,
            shape: {
              kind: "object",
              description: "The host runs a member of etcd if it is one of the first three",
              fields: {
                folder: {
                  optional: false,
                  shape: path("Where its data is", "/var/lib/drystone/directory"),
                },
                clientAddress: {
                  optional: false,
                  shape: {
                    kind: "text",
                    lengthMax: PATH_LENGTH_MAX,
                    invalid: apiAddressInvalid,
                    description: "ADDRESS:PORT where hosts ask it",
                    example: "10.0.0.1:7402",
                  },
                },
                peerAddress: {
                  optional: false,
                  shape: {
                    kind: "text",
                    lengthMax: PATH_LENGTH_MAX,
                    invalid: apiAddressInvalid,
                    description: "ADDRESS:PORT where other members reach it",
                    example: "10.0.0.1:7404",
                  },
                },
              },
            },
          },
        },
      },
    },
    keyFile: {
      optional: true,
      shape: path(
        "The cluster key, for encrypted volumes (default: cluster.key in stateDir)",
        "/run/credentials/drystone.service/cluster.key",
      ),
    },
    bootFolders: {
      optional: true,
      shape: {
        kind: "list",
        countMax: 16,
        description: `Where kernels, initramfs and firmware of machines lie (default: ${BOOT_FOLDERS_DEFAULT.join(", ")})`,
        of: path("A folder", "/boot"),
      },
    },
    memory: {
      optional: true,
      shape: size(
        "Memory for caches and blocks on their way to disk (default: 192M)",
        "192M",
        MEMORY_BYTES_MIN,
      ),
    },
  },
};

export function readHostConfig(file: string): HostConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new CodedError(
      {
        code: "config-missing",
        message: `the configuration ${file} cannot be read: ${errorText(error)}`,
        hint: "Check the path given with --config",
      },
      { cause: error },
    );
  }
  return parseHostConfig(text, file);
}

/** `file` is named in errors, and relative paths count from its directory. */
export function parseHostConfig(text: string, file: string): HostConfig {
  const hint = `Correct ${file}; docs/operating/install.md describes every field`;
  let value: unknown;
  try {
    if (text.length > CONFIG_BYTES_MAX) throw new Error("it is larger than 1 MiB");
    value = JSON.parse(text);
  } catch (error) {
    const message = `${file} is not JSON: ${errorText(error)}`;
    throw new CodedError({ code: "config-invalid", message, hint }, { cause: error });
  }
  const checked = checkShape(hostConfigShape, value, "config-invalid", hint);
  const base = dirname(resolve(file));
  const config = fromFile(checked, base);
  checkOpenPorts(config, hint);
  const twice = config.devices.find(
    ({ path: wanted }, index) => config.devices.findIndex((other) => other.path === wanted) < index,
  );
  if (twice === undefined) return config;
  const message = `devices lists ${twice.path} twice`;
  throw new CodedError({ code: "config-invalid", message, hint });
}

function fromFile(file: HostConfigFile, base: string): HostConfig {
  const address = parseAddress(file.apiAddress ?? API_ADDRESS_DEFAULT);
  if (address.kind !== "tcp") throw new Error("the shape lets TCP addresses pass only");
  const stateDir = absolute(base, file.stateDir);
  return {
    name: file.name ?? hostname(),
    stateDir,
    apiAddress: { host: address.host, port: address.port },
    isApiPlain: file.apiPlain === true || file.cluster?.tls === undefined,
    devices: file.devices.map((device) => ({
      path: absolute(base, device.path),
      ...(device.size === undefined ? {} : { sizeBytes: sizeOf(device.size) }),
    })),
    memoryBytes: file.memory === undefined ? MEMORY_BYTES_DEFAULT : sizeOf(file.memory),
    keyFile:
      file.keyFile === undefined ? join(stateDir, "cluster.key") : absolute(base, file.keyFile),
    bootFolders: (file.bootFolders ?? BOOT_FOLDERS_DEFAULT).map((one) => absolute(base, one)),
    cluster: file.cluster === undefined ? undefined : clusterOf(file.cluster, base),
  };
}

/** What is not under TLS stays on this machine. */
function checkOpenPorts({ cluster, apiAddress, isApiPlain }: HostConfig, hint: string): void {
  if (isApiPlain && !isLoopback({ kind: "tcp", ...apiAddress })) {
    const message = `apiAddress is ${apiAddress.host}, and an API without TLS stays on 127.0.0.1`;
    const start = "drystone init and drystone join make hosts with certificates";
    throw new CodedError({ code: "config-invalid", message, hint: `${start}. ${hint}` });
  }
  if (cluster === undefined) return;
  const { directory, tls, storageAddress, managementAddress = storageAddress } = cluster;
  const isOpenEtcd = directory.kind === "etcd" && directory.endpoints.some(isOpenUrl);
  if (isOpenEtcd) {
    const message = "cluster.directory reaches etcd on another machine without TLS";
    throw new CodedError({ code: "config-invalid", message, hint: `Use https:// URLs. ${hint}` });
  }
  if (cluster.member !== undefined && directory.kind !== "etcd") {
    const message = "cluster.member is for a cluster.directory of https:// URLs";
    throw new CodedError({ code: "config-invalid", message, hint });
  }
  if (tls !== undefined) return;
  const { clientAddress, peerAddress } = cluster.member ?? {};
  const memberOpen = [clientAddress, peerAddress].some(
    (address) => address !== undefined && !isLoopback(parseAddress(address)),
  );
  const open = [
    ...(memberOpen ? ["member"] : []),
    ...(isLoopback(parseAddress(storageAddress)) ? [] : ["storageAddress"]),
    ...(isLoopback(parseAddress(managementAddress)) ? [] : ["managementAddress"]),
    ...(directory.kind !== "etcd" && !isLoopback(directory.address) ? ["directory"] : []),
  ];
  if (open.length === 0) return;
  const message = `cluster.tls is missing, and ${open.join(" and ")} can be reached from elsewhere`;
  throw new CodedError({
    code: "config-invalid",
    message,
    hint: `Have certificates made with drystone init and drystone join. ${hint}`,
  });
}

function isOpenUrl(url: string): boolean {
  const { protocol, hostname: host, port } = new URL(url);
  if (protocol === "https:") return false;
  return !isLoopback({ kind: "tcp", host: host.replace(/^\[|\]$/g, ""), port: Number(port) });
}

function isLoopback(address: NetworkAddress): boolean {
  return address.kind === "unix" || /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(address.host);
}

function clusterOf(file: ClusterConfigFile, base: string): ClusterConfig {
  const directory = directoryOf(file.directory);
  if (directory === undefined) throw new Error("the shape lets directories pass only");
  const { id, storageAddress, managementAddress, faultDomain } = file;
  const { holdSeconds = HOLD_SECONDS_DEFAULT } = file;
  return {
    id,
    directory,
    storageAddress,
    managementAddress,
    faultDomain,
    holdMs: holdSeconds * 1000,
    tls: file.tls === undefined ? undefined : absolute(base, file.tls),
    member: file.member && { ...file.member, folder: absolute(base, file.member.folder) },
  };
}

/** As the configuration writes it; undefined if it is neither form. */
function directoryOf(text: string): DirectoryConfig | undefined {
  const endpoints = text.split(",");
  if (endpoints.every((url) => /^https?:\/\/[^/]+$/.test(url))) return { kind: "etcd", endpoints };
  const [, kind, address = ""] = /^(served|own):(.+)$/.exec(text) ?? [];
  if (kind === undefined || apiAddressInvalid(address) !== undefined) return undefined;
  return { kind: kind === "own" ? "own" : "served", address: parseAddress(address) };
}

function clusterIdInvalid(text: string): string | undefined {
  return /^[0-9a-f]{32}$/.test(text) ? undefined : "must be 32 hexadecimal digits";
}

function absolute(base: string, name: string): string {
  return isAbsolute(name) ? resolve(name) : resolve(base, name);
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new Error("the shape lets sizes pass only");
  return bytes;
}

function path(description: string, example: string): TextShape {
  return { kind: "text", lengthMax: PATH_LENGTH_MAX, description, example };
}

function size(description: string, example: string, bytesMin: number): TextShape {
  return {
    kind: "text",
    lengthMax: 32,
    description,
    example,
    invalid: (text) => {
      const bytes = parseSize(text);
      if (bytes === undefined) return `is "${text}", which is not a size such as ${example}`;
      return bytes < bytesMin ? `is ${text}, the least is ${bytesMin / 2 ** 20}M` : undefined;
    },
  };
}

function apiAddressInvalid(text: string): string | undefined {
  const rule = "must be ADDRESS:PORT";
  try {
    return parseAddress(text).kind === "tcp" ? undefined : `${rule}, not a socket path`;
  } catch (error) {
    if (error instanceof CodedError) return `${rule}: ${error.message}`;
    throw error;
  }
}
