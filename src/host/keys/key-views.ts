/** What is asked and answered about keys of encrypted volumes, and its shapes. */
import type { ObjectShape } from "../api/shape.ts";
import { count, flag, list, may, must, text } from "../api/shape-words.ts";

export interface ClusterKeyHostView {
  readonly host: string;
  /** Ids of the keys in its file; absent if it does not answer. */
  readonly keyIds?: readonly string[];
  /** Why it cannot serve encrypted volumes, or does not answer. */
  readonly reason?: string;
}

export interface ClusterKeyView {
  /** Absent while nothing is encrypted. */
  readonly keyId?: string;
  /** Set while the key is being changed. */
  readonly nextKeyId?: string;
  /** Hosts that do not have the next key yet. */
  readonly waitingFor: readonly string[];
  readonly hosts: readonly ClusterKeyHostView[];
}

export interface KeyRotateRequest {
  readonly finish?: boolean;
}

export interface KeyDomainView {
  readonly name: string;
  readonly domainId: string;
  readonly cipher: string;
  readonly createdMs: number;
  readonly volumes: readonly string[];
}

export interface KeyDomainList {
  readonly domains: readonly KeyDomainView[];
}

export interface KeyDomainRequest {
  readonly name: string;
}

/** Of requests that make volumes. */
export interface EncryptionRequest {
  readonly encrypted?: boolean;
  readonly keyDomain?: string;
}

/** How a volume is encrypted. */
export interface VolumeEncryptionView {
  readonly domain: string;
  readonly domainId: string;
}

export const volumeEncryptionShape: ObjectShape<VolumeEncryptionView> = {
  kind: "object",
  description: "With what it is encrypted at rest",
  fields: {
    domain: must(text("The key domain: equal blocks of its volumes are stored once")),
    domainId: must(text("The key domain's id")),
  },
};

export const clusterKeyShape: ObjectShape<ClusterKeyView> = {
  kind: "object",
  description: "The cluster key, and who has it; never the key itself",
  fields: {
    keyId: may(text("Its id; absent while nothing is encrypted")),
    nextKeyId: may(text("The id of the next one, while it is being changed")),
    waitingFor: must(list("Hosts that do not have the next one yet", text("A host"))),
    hosts: must(
      list<ClusterKeyHostView>("Every host", {
        kind: "object",
        description: "A host",
        fields: {
          host: must(text("Its name")),
          keyIds: may(list("Ids of the keys in its file", text("An id"))),
          reason: may(text("Why it cannot serve encrypted volumes, or does not answer")),
        },
      }),
    ),
  },
};

export const keyRotateShape: ObjectShape<KeyRotateRequest> = {
  kind: "object",
  description: "How",
  fields: { finish: may(flag("Do not wait for hosts that do not have the next key")) },
};

export const keyDomainListShape: ObjectShape<KeyDomainList> = {
  kind: "object",
  description: "All key domains",
  fields: {
    domains: must(
      list<KeyDomainView>("The domains", {
        kind: "object",
        description: "A key, and what is encrypted with it",
        fields: {
          name: must(text("Its name")),
          domainId: must(text("Its id")),
          cipher: must(text("The cipher")),
          createdMs: must(count("When it was made, in milliseconds since 1970")),
          volumes: must(list("Volumes and snapshots", text("A name"))),
        },
      }),
    ),
  },
};

export const keyDomainRequestShape: ObjectShape<KeyDomainRequest> = {
  kind: "object",
  description: "Which key domain",
  fields: { name: must(text("Its name")) },
};
