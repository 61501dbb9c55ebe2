import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "../../../test/support/test.ts";
import {
  CERTIFICATE_LIFETIME_MS,
  fingerprintOf,
  identityOf,
  issueCertificate,
  makeAuthority,
  makePrivateKey,
  publicKeyInvalid,
  publicKeyOf,
} from "./certificate.ts";
import type { CertificateRequest } from "./certificate.ts";
import { derInteger, derObjectId, derTime, derValue } from "./der.ts";

const CLUSTER = "0123456789abcdef0123456789abcdef";
const HOST = "fedcba9876543210fedcba9876543210";
const NOW_MS = Date.UTC(2026, 10, 26);

function requestOf(addresses: readonly string[] = []): CertificateRequest {
  const identity = { clusterId: CLUSTER, role: "host", name: HOST } as const;
  return { identity, publicKeyPem: publicKeyOf(makePrivateKey()), addresses };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("values are written as X.690 wants them", () => {
  assert.equal(hex(derInteger(Buffer.from([0, 0]))), "020100");
  assert.equal(hex(derInteger(Buffer.from([0, 0x7f]))), "02017f");
  assert.equal(hex(derInteger(Buffer.from([0x80]))), "02020080");
  assert.equal(hex(derObjectId("1.2.840.10045.4.3.2")), "06082a8648ce3d040302");
  assert.equal(hex(derValue(0x04, Buffer.alloc(200))).slice(0, 6), "0481c8");
  assert.equal(hex(derValue(0x04, Buffer.alloc(300))).slice(0, 8), "0482012c");
  assert.equal(
    derTime(Date.UTC(2049, 11, 31))
      .toString("latin1")
      .slice(2),
    "491231000000Z",
  );
  assert.equal(
    derTime(Date.UTC(2050, 0, 1))
      .toString("latin1")
      .slice(2),
    "20500101000000Z",
  );
});

test("a certificate is signed by its authority and says whose it is", () => {
  const authority = makeAuthority(CLUSTER, NOW_MS);
  const ca = new X509Certificate(authority.certificatePem);
  const addresses = ["10.0.0.1", "fd00::1:2", "h1.example.org"];
  const pem = issueCertificate(authority, requestOf(addresses), NOW_MS);
  const certificate = new X509Certificate(pem);
  assert.ok(ca.ca && ca.verify(ca.publicKey) && !certificate.ca);
  assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
  assert.deepEqual(identityOf(certificate), { clusterId: CLUSTER, role: "host", name: HOST });
  assert.equal(certificate.checkIP("10.0.0.1"), "10.0.0.1");
  assert.equal(certificate.checkIP("fd00::1:2"), "fd00::1:2");
  assert.equal(certificate.checkHost("h1.example.org"), "h1.example.org");
  assert.equal(certificate.checkHost("h2.example.org"), undefined);
  assert.ok(Date.parse(certificate.validTo) === NOW_MS + CERTIFICATE_LIFETIME_MS);
  assert.equal(identityOf(ca), undefined);
  assert.match(fingerprintOf(ca), /^[0-9a-f]{64}$/);
});

test("another cluster's authority has not signed it", () => {
  const other = new X509Certificate(makeAuthority(CLUSTER, NOW_MS).certificatePem);
  const pem = issueCertificate(makeAuthority(CLUSTER, NOW_MS), requestOf(), NOW_MS);
  assert.equal(new X509Certificate(pem).verify(other.publicKey), false);
});

test("openssl finds nothing wrong with them", (context) => {
  const folder = mkdtempSync("/var/tmp/drystone-certificate-");
  context.after(() => rmSync(folder, { recursive: true }));
  const authority = makeAuthority(CLUSTER, Date.now());
  writeFileSync(join(folder, "ca.crt"), authority.certificatePem);
  const pem = issueCertificate(authority, requestOf(["127.0.0.1"]), Date.now());
  writeFileSync(join(folder, "host.crt"), pem);
  try {
    execFileSync("openssl", ["version"]);
  } catch {
    return context.skip("openssl is not installed");
  }
  for (const purpose of ["sslserver", "sslclient"]) {
    const parameters = ["-x509_strict", "-purpose", purpose, "-CAfile", "ca.crt", "host.crt"];
    const said = execFileSync("openssl", ["verify", ...parameters], { cwd: folder });
    assert.equal(said.toString().trim(), "host.crt: OK");
  }
});

test("only keys that a host has are certified", () => {
  assert.equal(publicKeyInvalid(publicKeyOf(makePrivateKey())), undefined);
  assert.match(publicKeyInvalid("nonsense") ?? "", /cannot be read/);
  const identity = { clusterId: CLUSTER, role: "host", name: "not an id" } as const;
  const authority = makeAuthority(CLUSTER, NOW_MS);
  assert.throws(
    () => issueCertificate(authority, { ...requestOf(), identity }, NOW_MS),
    /made of ids/,
  );
  assert.throws(
    () => issueCertificate(authority, requestOf(["a, URI:drystone://x"]), NOW_MS),
    /addresses and DNS names/,
  );
});
