/**
 * The authority of a cluster and the certificates it gives to hosts and operators (RFC 5280, ECDSA
 * with P-256). Who somebody is stands in the subject alternative name, as a URI with the cluster's
 * id and the host's; names and addresses are there for tools that look for them.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { randomBytes, sign, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { assert } from "../../base/index.ts";
import {
  derBits,
  derBoolean,
  derInteger,
  derObjectId,
  derOctets,
  derSequence,
  derSet,
  derTagged,
  derText,
  derTime,
  derValue,
} from "./der.ts";

const DAY_MS = 24 * 3600 * 1000;
/** Of hosts, which have it renewed when half of it is over. */
export const CERTIFICATE_LIFETIME_MS: number = 2 * 365 * DAY_MS;
const AUTHORITY_LIFETIME_MS = 20 * 365 * DAY_MS;
/** Clocks of hosts may differ by so much. */
const EARLY_MS = 3600 * 1000;
const SERIAL_BYTES = 16;
const ID = "[0-9a-f]{32}";
const IDENTITY_URI = new RegExp(
  `^URI:drystone://(${ID})/(host|operator|client)/([0-9a-z][0-9a-z-]{0,63})$`,
);
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

const OID = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** PEM texts. */
export interface CertifiedKey {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface CertificateIdentity {
  readonly clusterId: string;
  /** Clients use volumes over NBD and are no part of the cluster. */
  readonly role: "host" | "operator" | "client";
  /** The host's id, or the operator's or client's name. */
  readonly name: string;
}

export interface CertificateRequest {
  readonly identity: CertificateIdentity;
  /** PEM of the public key, on P-256. */
  readonly publicKeyPem: string;
  /** DNS names and IP addresses under which it may be reached. */
  readonly addresses: readonly string[];
  readonly lifetimeMs?: number;
}

/** A new key, as PEM. */
export function makePrivateKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

export function publicKeyOf(keyPem: string): string {
  return createPublicKey(keyPem).export({ type: "spki", format: "pem" }).toString();
}

export function makeAuthority(
  clusterId: string,
  nowMs: number,
  commonName = `Drystone cluster ${clusterId}`,
): CertifiedKey {
  assert(new RegExp(`^${ID}$`).test(clusterId), "a cluster's id has 32 hexadecimal digits");
  const keyPem = makePrivateKey();
  const publicKey = createPublicKey(keyPem);
  const name = distinguishedName(commonName);
  const extensions = [
    // CA, and no authority below it.
    extension(
      OID.basicConstraints,
      true,
      derSequence(derBoolean(true), derInteger(Buffer.from([0]))),
    ),
    // keyCertSign, cRLSign
    extension(OID.keyUsage, true, derBits(Buffer.from([0x06]), 1)),
    extension(OID.subjectKeyId, false, derOctets(keyId(publicKey))),
  ];
  const endsMs = nowMs + AUTHORITY_LIFETIME_MS;
  const body = { issuer: name, subject: name, publicKey, extensions, nowMs, endsMs };
  return { keyPem, certificatePem: signed(body, createPrivateKey(keyPem)) };
}

/** A certificate for both ends of a connection. */
export function issueCertificate(
  authority: CertifiedKey,
  request: CertificateRequest,
  nowMs: number,
): string {
  const { clusterId, role, name } = request.identity;
  const publicKey = createPublicKey(request.publicKeyPem);
  const uri = `drystone://${clusterId}/${role}/${name}`;
  assert(IDENTITY_URI.test(`URI:${uri}`), "an identity is made of ids");
  const authorityKey = createPrivateKey(authority.keyPem);
  const extensions = [
    extension(OID.basicConstraints, true, derSequence()),
    // digitalSignature
    extension(OID.keyUsage, true, derBits(Buffer.from([0x80]), 7)),
    extension(
      OID.extendedKeyUsage,
      false,
      derSequence(derObjectId(OID.serverAuth), derObjectId(OID.clientAuth)),
    ),
    extension(OID.subjectKeyId, false, derOctets(keyId(publicKey))),
    extension(
      OID.authorityKeyId,
      false,
      derSequence(derValue(0x80, keyId(createPublicKey(authorityKey)))),
    ),
    extension(
      OID.subjectAltName,
      false,
      derSequence(derValue(0x86, Buffer.from(uri, "ascii")), ...request.addresses.map(otherName)),
    ),
  ];
  const { subject } = new X509Certificate(authority.certificatePem);
  const body = {
    issuer: distinguishedName(subject.replace(/^CN=/, "")),
    subject: distinguishedName(`Drystone ${role} ${name}`.slice(0, 64)),
    publicKey,
    extensions,
    nowMs,
    endsMs: nowMs + (request.lifetimeMs ?? CERTIFICATE_LIFETIME_MS),
  };
  return signed(body, authorityKey);
}

/**
 * A key and a certificate for a client, which is known by its fingerprint. The authority that has
 * signed it signs nothing else: its key is not kept. So nobody who believes the cluster's authority
 * takes a client for a part of the cluster.
 */
export function issueClientCertificate(
  { clusterId, name }: { readonly clusterId: string; readonly name: string },
  nowMs: number,
  lifetimeMs: number,
): CertifiedKey & { readonly authorityPem: string } {
  const authority = makeAuthority(clusterId, nowMs, `Drystone client ${name}`.slice(0, 64));
  const keyPem = makePrivateKey();
  const identity = { clusterId, role: "client", name } as const;
  const request = { identity, publicKeyPem: publicKeyOf(keyPem), addresses: [], lifetimeMs };
  const certificatePem = issueCertificate(authority, request, nowMs);
  return { certificatePem, keyPem, authorityPem: authority.certificatePem };
}

/** Whether a certificate can have it: an IP address or a DNS name. */
export function isCertifiable(address: string): boolean {
  return isIP(address) !== 0 || DNS_NAME.test(address);
}

/** Why a key gets no certificate, or undefined. */
export function publicKeyInvalid(publicKeyPem: string): string | undefined {
  try {
    const key = createPublicKey(publicKeyPem);
    const isP256 = key.asymmetricKeyDetails?.namedCurve === "prime256v1";
    return isP256 ? undefined : "the key is not on the curve P-256";
  } catch {
    return "the key cannot be read";
  }
}

/** Of a certificate that the authority of its cluster has signed; undefined if it says nothing. */
export function identityOf(certificate: X509Certificate): CertificateIdentity | undefined {
  const names = (certificate.subjectAltName ?? "").split(", ");
  const found = names.flatMap((name) => {
    const [, clusterId, role, id] = IDENTITY_URI.exec(name) ?? [];
    if (clusterId === undefined || id === undefined) return [];
    const isRole = role === "host" || role === "operator" || role === "client";
    return isRole ? [{ clusterId, role, name: id } as const] : [];
  });
  return found.length === 1 ? found[0] : undefined;
}

/** The addresses and names that a certificate is for. */
export function addressesOf(certificate: X509Certificate): readonly string[] {
  const names = (certificate.subjectAltName ?? "").split(", ");
  return names.flatMap((name) => /^(?:IP Address|DNS):(.+)$/.exec(name)?.[1] ?? []);
}

/**
 * A list of certificates that are refused, by their serial numbers (RFC 5280, 5), for programs that
 * read one. It is signed with the key of the host that reads it itself.
 */
export function revocationList(serials: readonly string[], keyPem: string, nowMs: number): string {
  const algorithm = derSequence(derObjectId(OID.ecdsaWithSha256));
  const entries = serials.map((serial) =>
    derSequence(derInteger(Buffer.from(serial, "hex")), derTime(nowMs)),
  );
  const toBeSigned = derSequence(
    derInteger(Buffer.from([1])), // Version 2.
    algorithm,
    distinguishedName("Drystone host"),
    derTime(nowMs),
    derTime(nowMs + AUTHORITY_LIFETIME_MS),
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
  );
  const signature = sign("sha256", toBeSigned, createPrivateKey(keyPem));
  const list = derSequence(toBeSigned, algorithm, derBits(signature)).toString("base64");
  const lines = list.match(/.{1,64}/g) ?? [];
  return `-----BEGIN X509 CRL-----\n${lines.join("\n")}\n-----END X509 CRL-----\n`;
}

/** All certificates of a text, as a file of believed authorities has them. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((one) => new X509Certificate(one));
}

/** Which of these authorities has signed it. */
export function issuerOf(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
): X509Certificate | undefined {
  return authorities.find(
    (one) => certificate.checkIssued(one) && certificate.verify(one.publicKey),
  );
}

/** SHA-256 of the certificate, in hexadecimal digits. */
export function fingerprintOf(certificate: X509Certificate): string {
  return createHash("sha256").update(certificate.raw).digest("hex");
}

interface CertificateBody {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly nowMs: number;
  readonly endsMs: number;
}

function signed(body: CertificateBody, key: KeyObject): string {
  const algorithm = derSequence(derObjectId(OID.ecdsaWithSha256));
  const { issuer, subject, publicKey, extensions, nowMs, endsMs } = body;
  const toBeSigned = derSequence(
    derTagged(0, derInteger(Buffer.from([2]))), // Version 3.
    derInteger(randomBytes(SERIAL_BYTES)),
    algorithm,
    issuer,
    derSequence(derTime(nowMs - EARLY_MS), derTime(endsMs)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    derTagged(3, derSequence(...extensions)),
  );
  const signature = sign("sha256", toBeSigned, key);
  return new X509Certificate(derSequence(toBeSigned, algorithm, derBits(signature))).toString();
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [derBoolean(true)] : [];
  return derSequence(derObjectId(id), ...critical, derOctets(value));
}

function distinguishedName(commonName: string): Buffer {
  return derSequence(derSet(derSequence(derObjectId(OID.commonName), derText(commonName))));
}

function keyId(publicKey: KeyObject): Buffer {
  const der = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(der).digest().subarray(0, 20);
}

function otherName(address: string): Buffer {
  assert(isCertifiable(address), "a certificate has addresses and DNS names");
  if (isIP(address) === 0) return derValue(0x82, Buffer.from(address, "ascii"));
  return derValue(0x87, ipBytes(address));
}

function ipBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  // The URL parser knows every way to write one.
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [before = "", after] = plain.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const head = groups(before);
  const tail = groups(after ?? "");
  const zeros = after === undefined ? [] : Array<number>(8 - head.length - tail.length).fill(0);
  const bytes = Buffer.alloc(16);
  [...head, ...zeros, ...tail].forEach((group, index) => bytes.writeUInt16BE(group, 2 * index));
  return bytes;
}
