/** Makes and removes the clients that may use volumes over NBD under TLS. */
import { randomBytes, X509Certificate } from "node:crypto";
import { CodedError } from "../../base/index.ts";
import { createNbdClient, listNbdClients, removeNbdClient } from "../../cluster/index.ts";
import type { NbdClientRecord } from "../../cluster/index.ts";
import { fingerprintOf, issueClientCertificate } from "../../platform/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import type { Handlers } from "../api/http-api.ts";
import type {
  ClientCreateRequest,
  ClientCreatedView,
  ClientFileView,
  ClientView,
} from "./nbd-client-views.ts";

const KEY_BYTES = 32;
const DAYS_DEFAULT = 365;
const DAY_MS = 24 * 3600 * 1000;

interface ClientDeskWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  /** Of the cluster's authority; undefined where hosts have no certificates. */
  readonly caPem: () => string | undefined;
}

type ClientHandlers = Pick<Handlers, "client.create" | "client.list" | "client.delete">;

export function clientHandlers(world: ClientDeskWorld): ClientHandlers {
  const { directory, clusterId } = world;
  return {
    "client.create": (request) => create(world, request),
    "client.list": async () => {
      const clients = await listNbdClients(directory, clusterId);
      return { clients: clients.map(viewOf) };
    },
    "client.delete": async ({ name }) => {
      if (await removeNbdClient(directory, clusterId, name)) return { done: true };
      throw new CodedError({
        code: "client-unknown",
        message: `there is no client named ${name.slice(0, 80)}`,
        hint: "run drystone client list",
      });
    },
  };
}

async function create(
  world: ClientDeskWorld,
  { name, volumes, proof = "certificate", days = DAYS_DEFAULT }: ClientCreateRequest,
): Promise<ClientCreatedView> {
  const createdMs = Math.round(world.clock.wallMs());
  const lifetimeMs = days * DAY_MS;
  const made =
    proof === "key" ? makeKey(name) : makeCertificate(world, name, createdMs, lifetimeMs);
  const { secret, files } = made;
  const record = { name, volumes, proof, secret, createdMs, expiresMs: createdMs + lifetimeMs };
  await createNbdClient(world.directory, world.clusterId, record);
  return { ...viewOf(record), files };
}

interface Proof {
  readonly secret: string;
  /** As libnbd, nbdkit and QEMU call them. */
  readonly files: readonly ClientFileView[];
}

function makeKey(name: string): Proof {
  const secret = randomBytes(KEY_BYTES).toString("hex");
  return { secret, files: [{ name: "keys.psk", content: `${name}:${secret}\n` }] };
}

function makeCertificate(
  { clusterId, caPem: authorityOf }: ClientDeskWorld,
  name: string,
  nowMs: number,
  lifetimeMs: number,
): Proof {
  const caPem = authorityOf();
  if (caPem === undefined)
    throw new CodedError({
      code: "not-supported",
      message: "this host has no certificate that a client could believe",
      hint: "Let the client share a key: --proof key",
    });
  const made = issueClientCertificate({ clusterId, name }, nowMs, lifetimeMs);
  const secret = fingerprintOf(new X509Certificate(made.certificatePem));
  // QEMU refuses a certificate of its own whose authority it does not know.
  const believed = `${caPem.trimEnd()}\n${made.authorityPem}`;
  return {
    secret,
    files: [
      { name: "ca-cert.pem", content: believed },
      { name: "client-cert.pem", content: made.certificatePem },
      { name: "client-key.pem", content: made.keyPem },
    ],
  };
}

function viewOf({ name, volumes, proof, createdMs, expiresMs }: NbdClientRecord): ClientView {
  return { name, volumes, proof, createdMs, expiresMs };
}
