/** Clients of volumes over NBD, as the API shows them. */
import { CLIENT_VOLUMES_MAX, nbdClientNameInvalid } from "../../cluster/index.ts";
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, list, may, must, text, volumeName } from "../api/shape-words.ts";

const DAYS_MAX = 3650;

export interface ClientCreateRequest {
  readonly name: string;
  /** Names, or "*" for all. */
  readonly volumes: readonly string[];
  readonly proof?: "certificate" | "key";
  readonly days?: number;
}

export interface ClientDeleteRequest {
  readonly name: string;
}

export interface ClientView {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly proof: "certificate" | "key";
  readonly createdMs: number;
  readonly expiresMs: number;
}

export interface ClientFileView {
  readonly name: string;
  readonly content: string;
}

export interface ClientCreatedView extends ClientView {
  /** For a folder on the client, of mode 0700. */
  readonly files: readonly ClientFileView[];
}

export interface ClientList {
  readonly clients: readonly ClientView[];
}

const name = {
  kind: "text",
  lengthMax: 63,
  description: "Its name",
  example: "backup",
  invalid: nbdClientNameInvalid,
} as const;
const proof = choice("What it proves itself with", ["certificate", "key"]);
const volumes = {
  kind: "list",
  countMax: CLIENT_VOLUMES_MAX,
  description: "The volumes that it may use; * stands for all",
  of: volumeName("A volume"),
} as const;

export const clientCreateShape: ObjectShape<ClientCreateRequest> = {
  kind: "object",
  description: "The new client",
  fields: {
    name: must(name),
    volumes: must(volumes),
    proof: may(proof),
    days: may({
      kind: "integer",
      min: 1,
      max: DAYS_MAX,
      description: "Days until it is refused (365)",
      example: 365,
    }),
  },
};

export const clientDeleteShape: ObjectShape<ClientDeleteRequest> = {
  kind: "object",
  description: "Which client",
  fields: { name: must(text("Its name")) },
};

const common = {
  name: must(name),
  volumes: must(volumes),
  proof: must(proof),
  createdMs: must(count("When it was made, in milliseconds since 1970")),
  expiresMs: must(count("From when on it is refused, in milliseconds since 1970")),
} as const;

const clientShape: ObjectShape<ClientView> = {
  kind: "object",
  description: "A client, without what it proves itself with",
  fields: common,
};

const clientFileShape: ObjectShape<ClientFileView> = {
  kind: "object",
  description: "A file of the client's folder",
  fields: { name: must(text("Its name")), content: must(text("What is in it")) },
};

export const clientCreatedShape: ObjectShape<ClientCreatedView> = {
  kind: "object",
  description: "The client, with its secrets, which are shown this once",
  fields: { ...common, files: must(list("For a folder on the client", clientFileShape)) },
};

export const clientListShape: ObjectShape<ClientList> = {
  kind: "object",
  description: "All clients that may use volumes over NBD under TLS",
  fields: { clients: must(list("The clients", clientShape)) },
};
