/**
 * What a host proves itself with and whom it believes. Both change while it runs: certificates are
 * renewed, those of hosts that were removed are refused from then on, and the authority itself is
 * replaced, with a time in between in which two are believed.
 */
import { X509Certificate } from "node:crypto";
import { assertDefined } from "../../base/index.ts";
import { certificatesIn, issuerOf } from "./certificate.ts";

/** PEM texts. */
export interface TlsCredentials {
  /** Of the cluster's authority; of two while it is replaced. */
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** What may be told to another thread. */
export interface TlsTrustState {
  readonly credentials: TlsCredentials;
  /** Ids of hosts whose certificates are refused. */
  readonly revoked: readonly string[];
}

export class TlsTrust {
  #credentials: TlsCredentials;
  #authorities: readonly X509Certificate[];
  #revoked: ReadonlySet<string>;
  readonly #listeners = new Set<() => void>();

  constructor(credentials: TlsCredentials, revoked: readonly string[] = []) {
    this.#credentials = credentials;
    this.#authorities = certificatesIn(credentials.caPem);
    this.#revoked = new Set(revoked);
  }

  get credentials(): TlsCredentials {
    return this.#credentials;
  }

  get state(): TlsTrustState {
    return { credentials: this.#credentials, revoked: [...this.#revoked] };
  }

  /** The one that has signed this host's own certificate. */
  get authority(): X509Certificate {
    const own = issuerOf(new X509Certificate(this.#credentials.certificatePem), this.#authorities);
    return assertDefined(own, "a host's certificate is signed by an authority that it believes");
  }

  isRevoked(hostId: string): boolean {
    return this.#revoked.has(hostId);
  }

  /** Whether an authority that is believed now has signed it. */
  isSigned(certificate: X509Certificate): boolean {
    return issuerOf(certificate, this.#authorities) !== undefined;
  }

  change({ credentials, revoked }: Partial<TlsTrustState>): void {
    if (credentials !== undefined) {
      this.#credentials = credentials;
      this.#authorities = certificatesIn(credentials.caPem);
    }
    if (revoked !== undefined) this.#revoked = new Set(revoked);
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each change; returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
