/** Certificates of hosts of a test's clusters, each cluster with one authority per process. */
import { issueCertificate, makeAuthority, makePrivateKey } from "../../src/platform/index.ts";
import { publicKeyOf } from "../../src/platform/index.ts";
import type { CertifiedKey, TlsCredentials } from "../../src/platform/index.ts";

export const TEST_CLUSTER: string = "c".repeat(32);

const authorities = new Map<string, CertifiedKey>();

export function authorityOf(clusterId: string): CertifiedKey {
  const found = authorities.get(clusterId) ?? makeAuthority(clusterId, Date.now());
  authorities.set(clusterId, found);
  return found;
}

export interface CredentialsOptions {
  readonly clusterId?: string;
  readonly role?: "host" | "operator";
  readonly authority?: CertifiedKey;
  readonly nowMs?: number;
}

/** `name` is repeated to the length of an id. */
export function hostCredentials(name: string, options: CredentialsOptions = {}): TlsCredentials {
  const { clusterId = TEST_CLUSTER, role = "host", nowMs = Date.now() } = options;
  const authority = options.authority ?? authorityOf(clusterId);
  const keyPem = makePrivateKey();
  const request = {
    identity: { clusterId, role, name: name.repeat(32 / name.length) },
    publicKeyPem: publicKeyOf(keyPem),
    addresses: ["127.0.0.1"],
  };
  const certificatePem = issueCertificate(authority, request, nowMs);
  return { caPem: authority.certificatePem, certificatePem, keyPem };
}
