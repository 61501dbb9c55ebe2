/** Who may use the API over TCP: those who show a certificate of the cluster. */
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { TLSSocket } from "node:tls";
import { CodedError, errorText } from "../base/index.ts";
import { identityOf } from "../platform/index.ts";
import type { HostTls } from "./tls-folder.ts";

export function makeApiServer(
  answer: RequestListener,
  tls: HostTls | undefined,
  reportRefusal: (remote: string | undefined, cause: string) => void,
): Server {
  if (tls === undefined) return createServer(answer);
  const { caPem, certificatePem, keyPem } = tls.credentials;
  const server = createTlsServer(
    {
      ca: caPem,
      // With the authority's, which a joining host knows by its fingerprint.
      cert: `${certificatePem}\n${caPem}`,
      key: keyPem,
      minVersion: "TLSv1.3",
      requestCert: true,
      // A joining host has none yet; `checkAccess` refuses everything else.
      rejectUnauthorized: false,
    },
    answer,
  );
  server.on("tlsClientError", (error, socket) =>
    reportRefusal(socket.remoteAddress, errorText(error)),
  );
  return server;
}

/** Fails with `certificate-required`. */
export function checkAccess({ socket }: IncomingMessage, clusterId: string): void {
  const reason = socket instanceof TLSSocket ? reasonToRefuse(socket, clusterId) : "no TLS";
  if (reason === undefined) return;
  throw new CodedError({
    code: "certificate-required",
    message: `the API is for those who show a certificate of this cluster: ${reason}`,
    hint: "On a host set DRYSTONE_TLS to its tls folder, or use --api unix:STATE/api.sock",
  });
}

function reasonToRefuse(socket: TLSSocket, clusterId: string): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return "none was shown";
  const verdict: unknown = socket.authorizationError;
  if (!socket.authorized) return `this one is refused (${verdict})`;
  const identity = identityOf(certificate);
  return identity?.clusterId === clusterId ? undefined : "this one is of another cluster";
}
