/**
 * What a host proves itself with and whom it believes. Both change while it runs: certificates are
 * renewed, and those of hosts that were removed are refused from then on.
 */

/** PEM texts. */
export interface TlsCredentials {
  /** Of the cluster's authority. */
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
  #revoked: ReadonlySet<string>;
  readonly #listeners = new Set<() => void>();

  constructor(credentials: TlsCredentials, revoked: readonly string[] = []) {
    this.#credentials = credentials;
    this.#revoked = new Set(revoked);
  }

  get credentials(): TlsCredentials {
    return this.#credentials;
  }

  get state(): TlsTrustState {
    return { credentials: this.#credentials, revoked: [...this.#revoked] };
  }

  isRevoked(hostId: string): boolean {
    return this.#revoked.has(hostId);
  }

  change({ credentials, revoked }: Partial<TlsTrustState>): void {
    if (credentials !== undefined) this.#credentials = credentials;
    if (revoked !== undefined) this.#revoked = new Set(revoked);
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each change; returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
