/** The certificates as the API shows them. */
import type { ObjectShape } from "./shape.ts";
import { count, list, must, text } from "./shape-words.ts";

export interface RemovedHostView {
  readonly name: string;
  readonly hostId: string;
  readonly removedMs: number;
}

export interface CertificateView {
  /** The host that answers. */
  readonly host: string;
  readonly hostId: string;
  /** Milliseconds since 1970. */
  readonly startsMs: number;
  readonly endsMs: number;
  /** From when on the host has it renewed. */
  readonly renewsMs: number;
  readonly serial: string;
  readonly addresses: readonly string[];
  readonly authorityEndsMs: number;
  /** Hosts whose certificates are refused. */
  readonly removed: readonly RemovedHostView[];
}

const removedShape: ObjectShape<RemovedHostView> = {
  kind: "object",
  description: "A host that was removed",
  fields: {
    name: must(text("Its name")),
    hostId: must(text("Its id")),
    removedMs: must(count("When it was removed, in milliseconds since 1970")),
  },
};

export const certificateShape: ObjectShape<CertificateView> = {
  kind: "object",
  description: "The certificate of the host that answers, and whose are refused",
  fields: {
    host: must(text("The host that answers")),
    hostId: must(text("Its id, as its certificate says")),
    startsMs: must(count("From when on it is good, in milliseconds since 1970")),
    endsMs: must(count("Until when it is good")),
    renewsMs: must(count("From when on the host has it renewed")),
    serial: must(text("Its serial number, in hexadecimal digits")),
    addresses: must(list("The addresses that it is for", text("An IP address or a name"))),
    authorityEndsMs: must(count("Until when the cluster's authority is good")),
    removed: must(list("Hosts whose certificates are refused", removedShape)),
  },
};
