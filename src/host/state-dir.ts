/**
 * A host's state directory: its identity, and the lock that keeps a second process away.
 *
 *   lock         held while the host runs; the kernel drops it with the process, however it ends
 *   host.json    the ids that the host and its cluster got at their first start
 *   metadata/    the embedded directory and the events
 *   devices/ID/  metadata of block devices (devices that are directories carry their own)
 *   devices/mounts.json  where the file systems of devices that are directories were mounted
 *   api.sock     the API, for the owner and the group
 *   nbd/         sockets of volumes attached without an address
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import { openDisk } from "../platform/index.ts";
import type { Disk } from "../ports/index.ts";
import { unwritable, writeDurably } from "./durable-file.ts";
import { isRecord } from "./api/shape.ts";

const LOCK_FILE_BYTES = 4096;
const IDENTITY_FORMAT = 1;

export interface HostIdentity {
  /** 32 hexadecimal digits each. */
  readonly clusterId: string;
  readonly hostId: string;
  /** False until the first start has made everything. */
  readonly isComplete: boolean;
}

export class StateDir {
  readonly path: string;
  readonly identity: HostIdentity;
  readonly #lock: Disk;

  /**
   * `clusterId` is the cluster that the host is to be part of; by default it makes one of its own.
   * `hostId` is whose certificate the host has, if it has one. Fails with `state-in-use`,
   * `state-unwritable`, `state-damaged`, `state-other-cluster` or `certificate-invalid`.
   */
  static open(path: string, clusterId?: string, hostId?: string): StateDir {
    makeFolder(path);
    const lock = takeLock(path);
    try {
      makeFolder(join(path, "nbd"));
      const file = join(path, "host.json");
      const metadataPath = join(path, "metadata");
      if (!existsSync(file)) {
        if (existsSync(metadataPath)) throw damaged(file, "it is missing, metadata/ is not");
        const ids = { clusterId: clusterId ?? newId(), hostId: hostId ?? newId() };
        const identity = { ...ids, isComplete: false };
        writeDurably(path, "host.json", identityText(identity));
      }
      const identity = readIdentity(file);
      if (clusterId !== undefined && identity.clusterId !== clusterId)
        throw otherCluster(path, identity.clusterId, clusterId);
      if (hostId !== undefined && identity.hostId !== hostId)
        throw otherHost(path, identity.hostId, hostId);
      // A first start that a crash cut short: nobody has used what it may have begun to make.
      if (!identity.isComplete) rmSync(metadataPath, { recursive: true, force: true });
      return new StateDir(path, lock, identity);
    } catch (error) {
      void lock.close();
      throw error;
    }
  }

  private constructor(path: string, lock: Disk, identity: HostIdentity) {
    this.path = path;
    this.#lock = lock;
    this.identity = identity;
  }

  /** The metadata store exists: from now on a start without it is refused. */
  markComplete(): void {
    if (this.identity.isComplete) return;
    writeDurably(this.path, "host.json", identityText({ ...this.identity, isComplete: true }));
  }

  get metadataPath(): string {
    return join(this.path, "metadata", "data.mdb");
  }

  get apiSocketPath(): string {
    return join(this.path, "api.sock");
  }

  get socketsPath(): string {
    return join(this.path, "nbd");
  }

  /** Folders of the virtual machines that run on this host. */
  get vmsPath(): string {
    return join(this.path, "vms");
  }

  get devicesPath(): string {
    return join(this.path, "devices");
  }

  async close(): Promise<void> {
    await this.#lock.close();
  }
}

function otherCluster(path: string, found: string, wanted: string): CodedError {
  return new CodedError({
    code: "state-other-cluster",
    message: `${path} belongs to cluster ${found}, and the configuration says ${wanted}`,
    hint: "Correct the id under cluster in the configuration, or use another stateDir",
  });
}

function otherHost(path: string, found: string, certified: string): CodedError {
  return new CodedError({
    code: "certificate-invalid",
    message: `${path} is of host ${found}, and the certificate of host ${certified}`,
    hint: "Give each host the tls folder that was made for it",
  });
}

/** A new random identity, 32 hexadecimal digits. */
export function newId(): string {
  return randomBytes(16).toString("hex");
}

/**
 * A file as a disk is opened under an exclusive lock of the kernel: that is what is wanted here.
 */
function takeLock(path: string): Disk {
  try {
    return openDisk(join(path, "lock"), { kind: "node-fs", createSizeBytes: LOCK_FILE_BYTES });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    if (error.code === "device-in-use") {
      const pid = error.fault.details?.["pid"];
      const holder = pid === undefined ? "another process" : `process ${pid}`;
      throw new CodedError(
        {
          code: "state-in-use",
          message: `a host runs on ${path} already: ${holder}`,
          hint:
            pid === undefined
              ? "Stop it, or use another directory"
              : `Stop it (kill ${pid}), or use another directory`,
          ...(pid === undefined ? {} : { details: { pid } }),
        },
        { cause: error },
      );
    }
    throw unwritable(path, error.message, error);
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unwritable(path, errorText(error), error);
  }
}

function identityText(identity: HostIdentity): string {
  return `${JSON.stringify({ format: IDENTITY_FORMAT, ...identity }, undefined, 2)}\n`;
}

function readIdentity(file: string): HostIdentity {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw damaged(file, errorText(error), error);
  }
  if (!isRecord(value)) throw damaged(file, "it is not an object");
  if (value["format"] !== IDENTITY_FORMAT) throw damaged(file, "its format is not known");
  const { clusterId, hostId } = value;
  if (!isId(clusterId)) throw damaged(file, "clusterId is not 32 hexadecimal digits");
  if (!isId(hostId)) throw damaged(file, "hostId is not 32 hexadecimal digits");
  return { clusterId, hostId, isComplete: value["isComplete"] === true };
}

function isId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function damaged(file: string, reason: string, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "state-damaged",
      message: `${file} is damaged: ${reason}`,
      hint: "Restore the state directory from a backup; without its ids the devices are another cluster's",
    },
    { cause },
  );
}
