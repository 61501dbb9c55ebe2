/**
 * A host's folder of certificates, `tls` in its state directory unless its configuration says
 * otherwise:
 *
 *   ca.crt     the authority of the cluster, whom the host believes; two while it is replaced
 *   host.crt   the host's own certificate
 *   host.key   its key, for the host alone
 *   ca.key     the authority's key, only where hosts may join
 *   next-ca.crt, next-ca.key   the authority that is to take its place, only where it was made
 *   revoked.json, revoked.crl   hosts that were removed, once there is one
 */
import { createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import {
  certificatesIn,
  identityOf,
  issueCertificate,
  issuerOf,
  publicKeyOf,
} from "../../platform/index.ts";
import { makePrivateKey, revocationList, TlsTrust } from "../../platform/index.ts";
import type { CertifiedKey, EtcdTls, TlsCredentials } from "../../platform/index.ts";
import { writeDurably } from "../durable-file.ts";
import { systemErrorCode } from "../system-error.ts";

const HINT = "Restore the folder from a backup, or have the host join again with a new token";

export interface HostTls {
  readonly trust: TlsTrust;
  readonly clusterId: string;
  readonly hostId: string;
}

const NEXT_CERTIFICATE = "next-ca.crt";
const NEXT_KEY = "next-ca.key";
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
  const authorities = parseAll(caPath, credentials.caPem);
  const certificate = parse(certificatePath, credentials.certificatePem);
  const identity = identityOf(certificate);
  if (identity === undefined || identity.role !== "host")
    throw invalid(certificatePath, "it is not the certificate of a host");
  if (identity.clusterId !== clusterId)
    throw invalid(certificatePath, `it is of cluster ${identity.clusterId}, not of ${clusterId}`);
  if (issuerOf(certificate, authorities) === undefined)
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

export function writeAuthorities(folder: string, caPem: string): void {
  writeDurably(folder, "ca.crt", caPem);
}

/** The authorities that are believed here and whose key is here: those that hosts may join by. */
export function readAuthorities(folder: string): readonly CertifiedKey[] {
  const { caPath, authorityKeyPath } = tlsPaths(folder);
  const believed = existsSync(caPath) ? parseAll(caPath, read(caPath)) : [];
  return [join(folder, NEXT_KEY), authorityKeyPath].filter(existsSync).flatMap((path) => {
    const keyPem = read(path);
    const key = createPublicKey(keyPem);
    const own = believed.find(({ publicKey }) => publicKey.equals(key));
    return own === undefined ? [] : [{ certificatePem: own.toString(), keyPem }];
  });
}

/** The authority that is to take the place of the present one, once it was made here. */
export function readNextAuthority(folder: string): CertifiedKey | undefined {
  const path = join(folder, NEXT_CERTIFICATE);
  if (!existsSync(path)) return undefined;
  return { certificatePem: read(path), keyPem: read(join(folder, NEXT_KEY)) };
}

export function writeNextAuthority(folder: string, authority: CertifiedKey): void {
  writeDurably(folder, NEXT_KEY, authority.keyPem);
  // Last: where it is, the key is.
  writeDurably(folder, NEXT_CERTIFICATE, authority.certificatePem);
}

/** The next authority is the authority from now on; does nothing where it was not made. */
export function adoptNextAuthority(folder: string): void {
  const next = readNextAuthority(folder);
  if (next === undefined) return;
  writeDurably(folder, "ca.key", next.keyPem);
  rmSync(join(folder, NEXT_CERTIFICATE));
  rmSync(join(folder, NEXT_KEY));
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

function parseAll(path: string, pem: string): readonly X509Certificate[] {
  try {
    const found = certificatesIn(pem);
    if (found.length > 0) return found;
  } catch (error) {
    throw invalid(path, `it is not a certificate: ${errorText(error)}`);
  }
  throw invalid(path, "it has no certificate in it");
}

function invalid(path: string, reason: string, hint: string = HINT): CodedError {
  const message = `${path} cannot be used: ${reason}`;
  return new CodedError({ code: "certificate-invalid", message, hint });
}
