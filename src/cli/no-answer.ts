/** What it means that a host did not answer, and what to do about it. */
import { CodedError, errorText } from "../base/index.ts";
import type { ApiAddress } from "./api-address.ts";

/** Nobody has heard the request: it may be told to another host. */
export class Unheard extends CodedError {}

const START =
  "Start one with `drystone dev` or `drystone host run --config FILE`, " +
  "or give its address with --api URL";
const ROUTES = "Check the address, that its machine runs, and routes, cables and firewalls to it";
const LOOK = "Look whether it was done before you try again";
const CLUSTER =
  "Give the tls/ca.crt of the cluster that the host belongs to: " +
  "with DRYSTONE_CA beside a token, else in the folder that DRYSTONE_TLS names";

/** That certificates do not prove who is there, by the codes of Node. */
const STRANGERS: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_DRYSTONE_STRANGER",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Before there was a connection that could carry a request. */
export function unheard(address: ApiAddress, error: Error): Unheard {
  const code = codeOf(error);
  const at = `the host at ${address.text}`;
  if (code === "ECONNREFUSED" || code === "ENOENT")
    return fault(
      Unheard,
      error,
      "connection-refused",
      `no host is running at ${address.text}`,
      START,
    );
  if (STRANGERS.has(code)) {
    const message = `${at} shows a certificate that the cluster's authority has not signed`;
    return fault(Unheard, error, "connection-failed", `${message}: ${errorText(error)}`, CLUSTER);
  }
  if (code === "EPROTO" && /wrong version number/.test(error.message)) {
    const hint = "Give its address with http://, as for a development cluster";
    return fault(Unheard, error, "connection-failed", `${at} does not speak TLS`, hint);
  }
  const message = `${at} cannot be asked: ${errorText(error)}`;
  return fault(Unheard, error, "connection-failed", message, ROUTES);
}

/** Once it may have been heard. */
export function unanswered(address: ApiAddress, error: Error, isChange: boolean): CodedError {
  const at = `the host at ${address.text}`;
  if (codeOf(error) === "EPROTO" || /alert/.test(error.message)) {
    const message = `${at} refuses the certificate that was shown: ${errorText(error)}`;
    return fault(CodedError, error, "connection-failed", message, CLUSTER);
  }
  const isEnd = codeOf(error) === "ECONNRESET";
  const hints = [
    ...(isChange ? [LOOK] : address.isTls || !isEnd ? [ROUTES] : []),
    ...(address.isTls || !isEnd ? [] : ["If it is under TLS, give its address with https://"]),
  ];
  const what = isEnd ? "it ended the connection without an answer" : errorText(error);
  const known = isChange ? "; whether it was done is not known" : "";
  const message = `${at} has not answered: ${what}${known}`;
  return fault(CodedError, error, "connection-failed", message, hints.join(". "));
}

/** In the middle of its answer. */
export function cutShort(address: ApiAddress, error: Error): CodedError {
  const message = `the host at ${address.text} stopped in the middle of its answer`;
  return fault(CodedError, error, "connection-failed", message, `${ROUTES}; then try again`);
}

/** Of all addresses that were tried. */
export function allUnheard(refused: readonly Unheard[], addresses: readonly ApiAddress[]): Unheard {
  const first = refused[0]!;
  if (refused.length === 1) return first;
  if (refused.every(({ code }) => code === "connection-refused")) {
    const texts = addresses.map(({ text }) => text).join(", ");
    return fault(Unheard, first, "connection-refused", `no host is running at ${texts}`, START);
  }
  const message = refused.map((one) => one.message).join("; ");
  return fault(Unheard, first, "connection-failed", message, ROUTES);
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}

function fault<T extends CodedError>(
  kind: new (fault: CodedError["fault"], options: ErrorOptions) => T,
  cause: Error,
  ...[code, message, hint]: readonly [string, string, string]
): T {
  return new kind({ code, message, hint }, { cause });
}
