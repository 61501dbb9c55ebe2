/** Where a host's API is, and with what it is asked. */
import { readFileSync } from "node:fs";
import type { RequestOptions } from "node:https";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { CodedError, errorText } from "../base/index.ts";

const TLS_FOLDER_DEFAULT = "/var/lib/drystone/tls";

/** Names of this machine for itself: what is sent there stays in it. */
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

const TLS_CHECKS: RequestOptions = {
  minVersion: "TLSv1.3",
  // The authority is the cluster's own, and signs for hosts alone: an address proves no more.
  checkServerIdentity: (_name, { raw }) => strangerOf(new X509Certificate(raw)),
};

export interface ApiAddress {
  /** For messages. */
  readonly text: string;
  readonly base: URL;
  readonly isTls: boolean;
  readonly options: RequestOptions;
}

/** Fails with `usage`, or with `certificate-invalid` if there is none to show. */
export function apiAddress(text: string): ApiAddress {
  const token = process.env["DRYSTONE_TOKEN"] ?? "";
  const shown = token === "" ? {} : { headers: { authorization: `Bearer ${token}` } };
  const socketPath = /^unix:(.+)$/.exec(text)?.[1];
  if (socketPath !== undefined)
    return {
      text,
      base: new URL("http://localhost"),
      isTls: false,
      options: { socketPath, ...shown },
    };
  const base = URL.canParse(text) ? new URL(text) : undefined;
  if (base?.protocol === "http:") {
    if (token !== "" && !LOOPBACK.test(base.hostname)) throw tokenInTheClear(text);
    return { text, base, isTls: false, options: shown };
  }
  if (base?.protocol === "https:") {
    const options = token === "" ? tlsOptions() : { ...authorityOptions(), ...shown };
    return { text, base, isTls: true, options };
  }
  throw new CodedError({
    code: "usage",
    message: `"${text}" is not the address of an API`,
    hint: "Give --api or DRYSTONE_API as unix:PATH, https://ADDRESS:PORT or http://ADDRESS:PORT",
  });
}

function tokenInTheClear(text: string): CodedError {
  return new CodedError({
    code: "usage",
    message: `a token is not sent to ${text}, where everybody on the way could read it`,
    hint: "Give the address with https://, or unset DRYSTONE_TOKEN",
  });
}

/** Whom a client with a token believes: the authority of the cluster. */
function authorityOptions(): RequestOptions {
  const file = process.env["DRYSTONE_CA"] ?? join(TLS_FOLDER_DEFAULT, "ca.crt");
  try {
    return { ca: readFileSync(file, "utf8"), ...TLS_CHECKS };
  } catch (error) {
    throw new CodedError(
      {
        code: "certificate-invalid",
        message: `the certificate of the cluster's authority cannot be read: ${errorText(error)}`,
        hint: "Set DRYSTONE_CA to a copy of the cluster's tls/ca.crt",
      },
      { cause: error },
    );
  }
}

/** The certificate of the host on this machine. */
function tlsOptions(): RequestOptions {
  const given = process.env["DRYSTONE_TLS"] ?? "";
  const folder = given === "" ? TLS_FOLDER_DEFAULT : given;
  try {
    const read = (name: string): string => readFileSync(join(folder, name), "utf8");
    return {
      ca: read("ca.crt"),
      cert: read("host.crt"),
      key: read("host.key"),
      ...TLS_CHECKS,
    };
  } catch (error) {
    throw new CodedError(
      {
        code: "certificate-invalid",
        message: `there is no certificate to show in ${folder}: ${errorText(error)}`,
        hint: "Set DRYSTONE_TLS to the tls folder of a host, or use --api unix:STATE/api.sock there",
      },
      { cause: error },
    );
  }
}

function strangerOf(certificate: X509Certificate): Error | undefined {
  const isHost = /URI:drystone:\/\/[0-9a-f]{32}\/host\//.test(certificate.subjectAltName ?? "");
  if (isHost) return undefined;
  return Object.assign(new Error("it is not a host's"), { code: "ERR_DRYSTONE_STRANGER" });
}
