/** Who may use the API over TCP: those who show a certificate of the cluster, or a token. */
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { TLSSocket } from "node:tls";
import { CodedError, errorText } from "../../base/index.ts";
import { identityOf } from "../../platform/index.ts";
import type { CertificateIdentity } from "../../platform/index.ts";
import type { HostTls } from "../certificates/tls-folder.ts";

const HANDSHAKE_MS_MAX = 10_000;
/** How late it may be noticed that a request does not arrive in time. */
const CHECK_MS = 5000;

export function makeApiServer(
  answer: RequestListener,
  tls: HostTls | undefined,
  reportRefusal: (remote: string | undefined, cause: string) => void,
): Server {
  if (tls === undefined) return createServer({ connectionsCheckingInterval: CHECK_MS }, answer);
  const server = createTlsServer(
    {
      ...secretsOf(tls),
      requestCert: true,
      // A joining host has none yet; `checkAccess` refuses everything else.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS_MAX,
      connectionsCheckingInterval: CHECK_MS,
    },
    answer,
  );
  tls.trust.onChange(() => server.setSecureContext(secretsOf(tls)));
  server.on("tlsClientError", (error, socket) =>
    reportRefusal(socket.remoteAddress, errorText(error)),
  );
  return server;
}

function secretsOf({ trust }: HostTls): {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly minVersion: "TLSv1.3";
} {
  const { caPem, certificatePem, keyPem } = trust.credentials;
  // With the authority's, which a joining host knows by its fingerprint.
  const cert = `${certificatePem}\n${trust.authority.toString()}`;
  return { ca: caPem, cert, key: keyPem, minVersion: "TLSv1.3" };
}

/** The token that is shown, or undefined. Fails with `access-denied` if it is shown otherwise. */
export function bearerOf({ headers }: IncomingMessage): string | undefined {
  const { authorization } = headers;
  if (authorization === undefined) return undefined;
  const token = /^Bearer ([A-Za-z0-9._~+/=-]{1,200})$/i.exec(authorization)?.[1];
  if (token !== undefined) return token;
  throw new CodedError({
    code: "access-denied",
    message: "the header Authorization is not Bearer and a token",
    hint: "Show a token as: Authorization: Bearer TOKEN",
  });
}

/** Whose certificate is shown. Fails with `certificate-required`. */
export function checkAccess({ socket }: IncomingMessage, tls: HostTls): CertificateIdentity {
  const reason = socket instanceof TLSSocket ? reasonToRefuse(socket, tls) : "no TLS";
  if (reason === undefined && socket instanceof TLSSocket) {
    const certificate = socket.getPeerX509Certificate();
    const identity = certificate && identityOf(certificate);
    if (identity !== undefined) return identity;
  }
  throw new CodedError({
    code: "certificate-required",
    message: `the API is for those who show a certificate of this cluster or a token: ${reason}`,
    hint: "On a host set DRYSTONE_TLS to its tls folder, or use --api unix:STATE/api.sock; elsewhere set DRYSTONE_TOKEN",
  });
}

function reasonToRefuse(socket: TLSSocket, { clusterId, trust }: HostTls): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return "none was shown";
  const verdict: unknown = socket.authorizationError;
  if (!socket.authorized) return `this one is refused (${verdict})`;
  // On a connection that is older than that.
  if (!trust.isSigned(certificate)) return "the authority that signed this one was replaced";
  const identity = identityOf(certificate);
  if (identity?.clusterId !== clusterId) return "this one is of another cluster";
  return trust.isRevoked(identity.name) ? "this host was removed from the cluster" : undefined;
}
