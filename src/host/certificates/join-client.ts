/**
 * A joining host's question to the cluster. It has no certificate yet, and knows the cluster by the
 * fingerprint of its authority, which came with the token: the token's secret is told to nobody who
 * does not prove to be a host of that cluster.
 */
import { createPublicKey, X509Certificate } from "node:crypto";
import { request as httpsRequest } from "node:https";
import { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { CodedError, errorText } from "../../base/index.ts";
import { certificatesIn, fingerprintOf, identityOf } from "../../platform/index.ts";
import type { NetworkAddress } from "../../ports/index.ts";
import type { JoinAnswer, JoinRequest } from "./join-desk.ts";
import { formatAddress } from "../names.ts";
import { isRecord } from "../api/shape.ts";

const ANSWER_MS_MAX = 20_000;
const ANSWER_BYTES_MAX = 64 * 1024;

export interface Joined {
  readonly answer: JoinAnswer;
  readonly caPem: string;
  readonly hostId: string;
}

/** Fails with `cluster-not-proven`, `connection-failed`, or as the cluster refuses. */
export async function askToJoin(
  address: NetworkAddress,
  fingerprint: string,
  request: JoinRequest,
): Promise<Joined> {
  if (address.kind !== "tcp") throw failed(address, "it is not ADDRESS:PORT");
  const { host, port } = address;
  const caPem = await authorityAt(address, fingerprint);
  // From here on OpenSSL believes that authority and no other.
  const options = { host, port, ca: caPem, checkServerIdentity: notAHost } as const;
  const { status, text } = await exchange(address, options, JSON.stringify(request));
  const said = parse(text);
  if (status !== 200) throw refusedBy(address, said);
  const answer = answerOf(said);
  const certificate = answer && new X509Certificate(answer.certificatePem);
  const identity = certificate && identityOf(certificate);
  const isMine =
    certificate !== undefined &&
    certificate.verify(new X509Certificate(caPem).publicKey) &&
    certificate.publicKey.equals(createPublicKey(request.publicKeyPem));
  if (answer === undefined || !isMine || identity?.clusterId !== answer.clusterId)
    throw failed(address, "it has answered with a certificate that is not for this host");
  return { answer, caPem: believed(answer, caPem), hostId: identity.name };
}

/** More than one while the cluster replaces its authority: what proved to be of it says so. */
function believed(answer: JoinAnswer, shownPem: string): string {
  const all = certificatesIn(answer.caPem ?? "");
  const shown = new X509Certificate(shownPem);
  const isKnown = all.some((one) => fingerprintOf(one) === fingerprintOf(shown));
  return isKnown ? all.map(String).join("") : shownPem;
}

/** The certificate of the authority that the other end shows, if it is the one we look for. */
function authorityAt(address: NetworkAddress, fingerprint: string): Promise<string> {
  if (address.kind !== "tcp") throw failed(address, "it is not ADDRESS:PORT");
  const { host, port } = address;
  return new Promise((resolve, reject) => {
    // Nothing is told to this connection; it only shows what the next one is to believe.
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: "TLSv1.3" });
    socket.setTimeout(ANSWER_MS_MAX, () => socket.destroy(new Error("no answer in time")));
    socket.once("error", (error) => reject(failed(address, errorText(error), error)));
    socket.once("secureConnect", () => {
      const shown = socket.getPeerCertificate(true).issuerCertificate as { raw?: Buffer } | null;
      const authority = shown?.raw && new X509Certificate(shown.raw);
      // With a word, so that the other end does not take it for an attack.
      socket.end();
      if (authority !== undefined && fingerprintOf(authority) === fingerprint)
        resolve(authority.toString());
      else reject(notProven(address));
    });
  });
}

function notAHost(_name: string, { raw }: { readonly raw: Buffer }): Error | undefined {
  const isHost = identityOf(new X509Certificate(raw))?.role === "host";
  return isHost ? undefined : new Error("the certificate is not a host's");
}

function exchange(
  address: NetworkAddress,
  options: ConnectionOptions & { readonly host: string; readonly port: number },
  body: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(failed(address, errorText(error), error));
    const headers = { "content-type": "application/json" };
    const call = httpsRequest({
      ...options,
      path: "/v1/join",
      method: "POST",
      headers,
      agent: false,
    });
    call.setTimeout(ANSWER_MS_MAX, () => call.destroy(new Error("no answer in time")));
    call.on("error", fail);
    call.on("response", (response) => {
      const pieces: Buffer[] = [];
      let lengthBytes = 0;
      response.on("data", (piece: Buffer) => {
        pieces.push(piece);
        lengthBytes += piece.length;
        if (lengthBytes > ANSWER_BYTES_MAX) call.destroy(new Error("the answer has no end"));
      });
      response.on("error", fail);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 500, text: Buffer.concat(pieces).toString() }),
      );
    });
    call.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function answerOf(said: unknown): JoinAnswer | undefined {
  if (!isRecord(said)) return undefined;
  const { clusterId, certificatePem, directory, caPem, clusterKey } = said;
  if (typeof clusterId !== "string" || typeof directory !== "string") return undefined;
  if (typeof certificatePem !== "string") return undefined;
  const believed = typeof caPem === "string" ? { caPem } : {};
  const answer = { clusterId, certificatePem, directory, ...believed };
  return typeof clusterKey === "string" ? { ...answer, clusterKey } : answer;
}

function refusedBy(address: NetworkAddress, said: unknown): CodedError {
  const fault = isRecord(said) ? said["error"] : undefined;
  if (!isRecord(fault)) return failed(address, "it is not a host of Drystone");
  const { code, message, hint } = fault;
  return new CodedError({
    code: typeof code === "string" ? code : "connection-failed",
    message: typeof message === "string" ? message : "the cluster refuses without a reason",
    ...(typeof hint === "string" ? { hint } : {}),
  });
}

function notProven(address: NetworkAddress): CodedError {
  return new CodedError({
    code: "cluster-not-proven",
    message: `who listens at ${formatAddress(address)} is not of the cluster that made the token`,
    hint: "Check the address, and that the token was made on a host of that cluster",
  });
}

function failed(address: NetworkAddress, reason: string, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "connection-failed",
      message: `the cluster at ${formatAddress(address)} cannot be asked: ${reason}`,
      hint: "Check that the host runs there, and its address and port",
    },
    { cause },
  );
}
