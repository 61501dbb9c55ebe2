import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { hostCredentials, TEST_CLUSTER } from "../../../test/support/credentials.ts";
import { test } from "../../../test/support/test.ts";
import { fingerprintOf, issueCertificate, makeAuthority } from "../../platform/index.ts";
import { makePrivateKey, publicKeyOf } from "../../platform/index.ts";
import type { CertifiedKey } from "../../platform/index.ts";
import type { NetworkAddress } from "../../ports/index.ts";
import { askToJoin } from "./join-client.ts";
import type { JoinRequest } from "./join-desk.ts";

const authority: CertifiedKey = makeAuthority(TEST_CLUSTER, Date.now());
const FINGERPRINT = fingerprintOf(new X509Certificate(authority.certificatePem));
const keyPem = makePrivateKey();
const REQUEST: JoinRequest = {
  token: "drystone-secret",
  name: "h2",
  publicKeyPem: publicKeyOf(keyPem),
  proof: "",
  addresses: [],
};

interface Shown {
  readonly signer: CertifiedKey;
  /** The authority that is put behind the certificate. */
  readonly chain: CertifiedKey;
  readonly role?: "host" | "operator";
}

/** A server with that certificate, which answers with `answer`; and what it was told. */
async function serve(
  context: TestContext,
  { signer, chain, role = "host" }: Shown,
  answer: object,
): Promise<{ address: NetworkAddress; told: string[] }> {
  const { certificatePem, keyPem: key } = hostCredentials("1", { authority: signer, role });
  const told: string[] = [];
  const cert = `${certificatePem}\n${chain.certificatePem}`;
  const server = createServer(
    { key, cert, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      request.on("data", (piece: Buffer) => told.push(piece.toString()));
      request.on("end", () => response.end(JSON.stringify(answer)));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { address: { kind: "tcp", host: "127.0.0.1", port }, told };
}

function answerFor(publicKeyPem: string, signer: CertifiedKey = authority): object {
  const identity = { clusterId: TEST_CLUSTER, role: "host", name: "2".repeat(32) } as const;
  const request = { identity, publicKeyPem, addresses: [] };
  const certificatePem = issueCertificate(signer, request, Date.now());
  return { clusterId: TEST_CLUSTER, certificatePem, directory: "served:10.0.0.1:7402" };
}

test("the cluster of the token is told the token, and its answer is taken", async (context) => {
  const shown = { signer: authority, chain: authority };
  const { address, told } = await serve(context, shown, answerFor(REQUEST.publicKeyPem));
  const { hostId, caPem, answer } = await askToJoin(address, FINGERPRINT, REQUEST);
  assert.equal(hostId, "2".repeat(32));
  assert.equal(fingerprintOf(new X509Certificate(caPem)), FINGERPRINT);
  assert.equal(answer.directory, "served:10.0.0.1:7402");
  assert.deepEqual(JSON.parse(told.join("")), REQUEST);
});

test("nobody else is told anything, whatever he shows", async (context) => {
  const stranger = makeAuthority(TEST_CLUSTER, Date.now());
  const answer = answerFor(REQUEST.publicKeyPem);
  const cases: readonly Shown[] = [
    { signer: stranger, chain: stranger },
    // The authority's certificate is no secret: everybody can put it behind his own.
    { signer: stranger, chain: authority },
    // With the key of an authority that bears its name.
    {
      signer: { ...stranger, certificatePem: authority.certificatePem },
      chain: authority,
    },
    { signer: authority, chain: authority, role: "operator" },
  ];
  for (const shown of cases) {
    const { address, told } = await serve(context, shown, answer);
    await assert.rejects(askToJoin(address, FINGERPRINT, REQUEST), (error: unknown) => {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      return code === "cluster-not-proven" || code === "connection-failed";
    });
    assert.deepEqual(told, []);
  }
});

test("a certificate for another key, or of another authority, is not taken", async (context) => {
  const stranger = makeAuthority(TEST_CLUSTER, Date.now());
  const answers = [
    answerFor(publicKeyOf(makePrivateKey())),
    answerFor(REQUEST.publicKeyPem, stranger),
    {},
    { clusterId: TEST_CLUSTER, directory: 7 },
  ];
  for (const answer of answers) {
    const shown = { signer: authority, chain: authority };
    const { address } = await serve(context, shown, answer);
    await assert.rejects(askToJoin(address, FINGERPRINT, REQUEST), { code: "connection-failed" });
  }
});
