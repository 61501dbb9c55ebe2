/**
 * Keeps the host's certificate good and knows whose are refused, while the host runs.
 *
 * Half a lifetime before its end the certificate is made anew, by this host if it has the key of
 * the authority, else by another one that has. The key stays, so that one file changes and nothing
 * is ever half renewed. Hosts that were removed are read from the directory, watched, and kept in
 * the tls folder, so that they are refused from the first moment of the next start.
 */
import { X509Certificate } from "node:crypto";
import { CodedError, errorText } from "../../base/index.ts";
import { directoryKeys, listHosts, listRevoked, noteCertificate } from "../../cluster/index.ts";
import { DirectoryFollower } from "../../cluster/index.ts";
import type { RevokedHost } from "../../cluster/index.ts";
import { addressesOf, certificatesIn, fingerprintOf, identityOf } from "../../platform/index.ts";
import { issuerOf, publicKeyOf } from "../../platform/index.ts";
import type { TlsCredentials } from "../../platform/index.ts";
import type { Clock, Directory, Log, Timer } from "../../ports/index.ts";
import type { CertificateView } from "./certificate-views.ts";
import type { NewEvent } from "../api/event-ring.ts";
import type { JoinDesk } from "./join-desk.ts";
import type { OtherHosts } from "../peers/other-hosts.ts";
import { isRecord } from "../api/shape.ts";
import { writeCertificate, writeRevoked } from "./tls-folder.ts";
import type { HostTls } from "./tls-folder.ts";

const LOOK_MS = 12 * 3600 * 1000;
const RETRY_MS = 60_000;
const REREAD_MS = 5000;

export interface CertificateKeeperWorld {
  readonly hostName: string;
  readonly clusterId: string;
  readonly tls: HostTls;
  /** The folder of certificates. */
  readonly folder: string;
  readonly desk: JoinDesk | undefined;
  readonly others: Pick<OtherHosts, "call">;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: { add(event: NewEvent): unknown };
}

export class CertificateKeeper {
  readonly #world: CertificateKeeperWorld;
  readonly #removedHosts: DirectoryFollower;
  #removed: readonly RevokedHost[] = [];
  #renewTimer: Timer | undefined;
  #isClosed = false;

  constructor(world: CertificateKeeperWorld) {
    const { directory, clock, clusterId, log } = world;
    this.#world = world;
    this.#removedHosts = new DirectoryFollower({
      ...{ directory, clock, prefix: directoryKeys.revokedHosts(clusterId), retryMs: REREAD_MS },
      read: () => this.#read(),
      failed: (error) =>
        log.write("debug", "removed hosts were not read", { cause: errorText(error) }),
    });
  }

  start(): void {
    this.#removedHosts.start();
    void this.#keepGood();
  }

  close(): void {
    this.#isClosed = true;
    this.#removedHosts.close();
    this.#renewTimer?.cancel();
  }

  view(): CertificateView {
    const { hostName, tls } = this.#world;
    const certificate = this.#certificate();
    const { authority } = tls.trust;
    return {
      host: hostName,
      hostId: tls.hostId,
      startsMs: Date.parse(certificate.validFrom),
      endsMs: Date.parse(certificate.validTo),
      renewsMs: renewalMs(certificate),
      serial: certificate.serialNumber,
      addresses: addressesOf(certificate),
      authorityEndsMs: Date.parse(authority.validTo),
      authority: fingerprintOf(authority),
      removed: this.#removed.map(({ name, hostId, removedMs }) => ({ name, hostId, removedMs })),
    };
  }

  /**
   * Fails with `authority-away` if no host with the authority's key can be asked. `by` is the
   * fingerprint of the authority that is to sign; `mayUse` fails if what it has signed cannot be
   * used yet.
   */
  async renew(
    by?: string,
    mayUse: (credentials: TlsCredentials) => Promise<void> = async () => {},
  ): Promise<void> {
    const { tls, folder, directory, clusterId, events, hostName } = this.#world;
    const { caPem, keyPem } = tls.trust.credentials;
    const before = this.#certificate();
    const request = {
      ...{ publicKeyPem: publicKeyOf(keyPem), addresses: addressesOf(before) },
      ...(by === undefined ? {} : { authority: by }),
    };
    const certificatePem = await this.#issued(request);
    const certificate = new X509Certificate(certificatePem);
    const issuer = issuerOf(certificate, certificatesIn(caPem));
    const isOurs =
      issuer !== undefined &&
      (by === undefined || fingerprintOf(issuer) === by) &&
      certificate.publicKey.equals(before.publicKey) &&
      identityOf(certificate)?.name === tls.hostId;
    if (!isOurs) throw authorityAway("what was answered is not a certificate of this host");
    await noteCertificate(directory, clusterId, {
      hostId: tls.hostId,
      serial: certificate.serialNumber,
    });
    await mayUse({ caPem, keyPem, certificatePem });
    writeCertificate(folder, certificatePem);
    tls.trust.change({ credentials: { caPem, keyPem, certificatePem } });
    const message = `the certificate of host ${hostName} was renewed, until ${certificate.validTo}`;
    const details = { serial: certificate.serialNumber };
    events.add({ level: "info", kind: "certificate-renewed", message, details });
  }

  #certificate(): X509Certificate {
    return new X509Certificate(this.#world.tls.trust.credentials.certificatePem);
  }

  async #issued(request: {
    readonly publicKeyPem: string;
    readonly authority?: string;
  }): Promise<string> {
    const { tls, desk, others, directory, clusterId } = this.#world;
    if (desk?.hasAuthority(request.authority) === true)
      return (await desk.renew(request, tls.hostId)).certificatePem;
    const reasons: string[] = [];
    for (const { hostId, name } of await listHosts(directory, clusterId)) {
      if (hostId === tls.hostId) continue;
      try {
        const said = await others.call(hostId, "POST", "/v1/renew", request);
        const pem = isRecord(said) ? said["certificatePem"] : undefined;
        if (typeof pem === "string") return pem;
        reasons.push(`${name}: an answer that hosts do not give`);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        reasons.push(`${name}: ${error.message}`);
      }
    }
    throw authorityAway(reasons.join("; ") || "there is no other host");
  }

  async #keepGood(): Promise<void> {
    const { clock, log, events, directory, clusterId, tls } = this.#world;
    let nextMs = LOOK_MS;
    try {
      const certificate = this.#certificate();
      const serial = certificate.serialNumber;
      await noteCertificate(directory, clusterId, { hostId: tls.hostId, serial });
      if (clock.wallMs() >= renewalMs(certificate)) await this.renew();
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (this.#isClosed) return;
      // It is looked after again soon: there is half a lifetime left.
      nextMs = error.code === "authority-away" ? LOOK_MS : RETRY_MS;
      log.write("warning", "the certificate was not looked after", { cause: errorText(error) });
      if (error.code === "authority-away") {
        const message = `the certificate was not renewed: ${error.message}`;
        events.add({ level: "warning", kind: "certificate-not-renewed", message, details: {} });
      }
    }
    if (!this.#isClosed) this.#renewTimer = clock.after(nextMs, () => void this.#keepGood());
  }

  async #read(): Promise<void> {
    const { directory, clusterId, tls, folder, clock, log } = this.#world;
    const removed = await listRevoked(directory, clusterId);
    if (this.#isClosed) return;
    this.#removed = removed;
    const hostIds = removed.map(({ hostId }) => hostId).toSorted();
    if (hostIds.join() === [...tls.trust.state.revoked].toSorted().join()) return;
    const serials = removed.flatMap((host) => host.serials);
    writeRevoked(folder, { hostIds, serials }, tls.trust.credentials.keyPem, clock.wallMs());
    tls.trust.change({ revoked: hostIds });
    log.write("info", "certificates of removed hosts are refused", { hosts: hostIds.length });
  }
}

function renewalMs(certificate: X509Certificate): number {
  const [startsMs, endsMs] = [certificate.validFrom, certificate.validTo].map(Date.parse);
  return ((startsMs ?? 0) + (endsMs ?? 0)) / 2;
}

function authorityAway(reason: string): CodedError {
  return new CodedError({
    code: "authority-away",
    message: `no host with the authority's key has answered (${reason})`,
    hint: "Start a host that has tls/ca.key, or copy that file there",
  });
}
