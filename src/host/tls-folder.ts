/**
 * A host's folder of certificates, `tls` in its state directory unless its configuration says
 * otherwise:
 *
 *   ca.crt     the authority of the cluster, whom the host believes
 *   host.crt   the host's own certificate
 *   host.key   its key, for the host alone
 *   ca.key     the authority's key, only where hosts may join
 *   revoked.json, revoked.crl   hosts that were removed, once there is one
 */
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import { identityOf, issueCertificate, publicKeyOf } from "../platform/index.ts";
import { makePrivateKey, revocationList, TlsTrust } from "../platform/index.ts";
import type { CertifiedKey, EtcdTls, TlsCredentials } from "../platform/index.ts";
import { writeDurably } from "./durable-file.ts";
import { systemErrorCode } from "./system-error.ts";

const HINT = "Restore the folder from a backup, or have the host join again with a new token";

export interface HostTls {
  readonly trust: TlsTrust;
  readonly clusterId: string;
  readonly hostId: string;
}

const REVOKED = "revoked.json";
const REVOKED_CRL = "revoked.crl";

export interface TlsPaths {
  readonly caPath: string;
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly authorityKeyPath: string;
  /** For etcd, which reads it at each connection. */
  readonly revokedPath: string;
}

export function tlsPaths(folder: string): TlsPaths {
  return {
    caPath: join(folder, "ca.crt"),
    certificatePath: join(folder, "host.crt"),
    keyPath: join(folder, "host.key"),
    authorityKeyPath: join(folder, "ca.key"),
    revokedPath: join(folder, REVOKED_CRL),
  };
}

/** Fails with `certificate-invalid`, and names the file. */
export function readTlsFolder(folder: string, clusterId: string, nowMs: number): HostTls {
  const { caPath, certificatePath, keyPath } = tlsPaths(folder);
  const credentials = {
    caPem: read(caPath),
    certificatePem: read(certificatePath),
    keyPem: read(keyPath),
  };
  if ((statSync(keyPath).mode & 0o007) !== 0)
    throw invalid(keyPath, "everybody may read it", `chmod 600 ${keyPath}`);
  const authority = parse(caPath, credentials.caPem);
  const certificate = parse(certificatePath, credentials.certificatePem);
  const identity = identityOf(certificate);
  if (identity === undefined || identity.role !== "host")
    throw invalid(certificatePath, "it is not the certificate of a host");
  if (identity.clusterId !== clusterId)
    throw invalid(certificatePath, `it is of cluster ${identity.clusterId}, not of ${clusterId}`);
  if (!certificate.checkIssued(authority) || !certificate.verify(authority.publicKey))
    throw invalid(certificatePath, `the authority in ${caPath} has not signed it`);
  if (Date.parse(certificate.validTo) < nowMs)
    throw invalid(certificatePath, `it has expired on ${certificate.validTo}`);
  if (Date.parse(certificate.validFrom) > nowMs)
    throw invalid(certificatePath, "it is not valid yet", "Set the clock of this machine");
  const trust = new TlsTrust(credentials, readRevoked(folder));
  return { trust, clusterId, hostId: identity.name };
}

/** As far as the host knew when it ran last. */
function readRevoked(folder: string): readonly string[] {
  const path = join(folder, REVOKED);
  if (!existsSync(path)) return [];
  const value: unknown = JSON.parse(read(path));
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
  throw invalid(path, "it is not a list of hosts", `rm ${path}: the directory knows them too`);
}

/** Hosts that were removed: their ids, and the serial numbers of their certificates. */
export function writeRevoked(
  folder: string,
  {
    hostIds,
    serials,
  }: { readonly hostIds: readonly string[]; readonly serials: readonly string[] },
  keyPem: string,
  nowMs: number,
): void {
  writeDurably(folder, REVOKED_CRL, revocationList(serials, keyPem, nowMs));
  writeDurably(folder, REVOKED, `${JSON.stringify(hostIds)}\n`);
}

export function writeCertificate(folder: string, certificatePem: string): void {
  writeDurably(folder, "host.crt", certificatePem);
}

/** The authority that hosts join by, if its key is here. */
export function readAuthority(folder: string): CertifiedKey | undefined {
  const { caPath, authorityKeyPath } = tlsPaths(folder);
  if (statSync(authorityKeyPath, { throwIfNoEntry: false }) === undefined) return undefined;
  return { certificatePem: read(caPath), keyPem: read(authorityKeyPath) };
}

export interface NewHost {
  readonly clusterId: string;
  readonly hostId: string;
  readonly addresses: readonly string[];
}

/** Gives a host its certificate, where the authority's key is at hand. */
export function writeTlsFolder(
  folder: string,
  authority: CertifiedKey,
  { clusterId, hostId, addresses }: NewHost,
  nowMs: number,
): void {
  const keyPem = makePrivateKey();
  const identity = { clusterId, role: "host", name: hostId } as const;
  const request = { identity, publicKeyPem: publicKeyOf(keyPem), addresses };
  const certificatePem = issueCertificate(authority, request, nowMs);
  writeCredentials(folder, { caPem: authority.certificatePem, certificatePem, keyPem });
}

export function writeCredentials(folder: string, credentials: TlsCredentials): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeDurably(folder, "ca.crt", credentials.caPem);
  writeDurably(folder, "host.key", credentials.keyPem);
  // Last: where it is, the folder is whole.
  writeDurably(folder, "host.crt", credentials.certificatePem);
}

export function writeAuthority(folder: string, authority: CertifiedKey): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeDurably(folder, "ca.crt", authority.certificatePem);
  writeDurably(folder, "ca.key", authority.keyPem);
}

/** What an etcd is asked with that believes the cluster's authority. */
export function etcdTls({ caPem, certificatePem, keyPem }: TlsCredentials): EtcdTls {
  return { caPem, certificatePem, keyPem };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const isMissing = systemErrorCode(error) === "ENOENT";
    throw invalid(path, isMissing ? "it is missing" : errorText(error));
  }
}

function parse(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw invalid(path, `it is not a certificate: ${errorText(error)}`);
  }
}

function invalid(path: string, reason: string, hint: string = HINT): CodedError {
  const message = `${path} cannot be used: ${reason}`;
  return new CodedError({ code: "certificate-invalid", message, hint });
}
