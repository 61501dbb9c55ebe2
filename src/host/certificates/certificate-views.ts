/** The certificates as the API shows them. */
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, flag, list, may, must, text } from "../api/shape-words.ts";

export interface RemovedHostView {
  readonly name: string;
  readonly hostId: string;
  readonly removedMs: number;
}

export interface RotationView {
  readonly step: "trust" | "issue" | "drop";
  readonly isHeld: boolean;
  readonly startedMs: number;
  /** Where the key of the new authority is. */
  readonly keyHost: string;
  /** Of the new authority. */
  readonly fingerprint: string;
  readonly waitsFor: readonly RotationWaitView[];
}

export interface RotationWaitView {
  readonly host: string;
  readonly reason?: string;
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
  /** Of the authority that has signed it. */
  readonly authority: string;
  /** Set while the authority is replaced. */
  readonly rotation?: RotationView;
  /** Hosts whose certificates are refused. */
  readonly removed: readonly RemovedHostView[];
}

export interface RotateRequest {
  readonly hold?: boolean;
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

const waitShape: ObjectShape<RotationWaitView> = {
  kind: "object",
  description: "A host that is waited for",
  fields: {
    host: must(text("Its name")),
    reason: may(text("Why it does not go on, if it has said so")),
  },
};

export const rotationShape: ObjectShape<RotationView> = {
  kind: "object",
  description: "How far the replacement of the cluster's authority is",
  fields: {
    step: must(
      choice("What hosts do: believe both, get new certificates, stop believing the old one", [
        "trust",
        "issue",
        "drop",
      ]),
    ),
    isHeld: must(flag("It stays where both are believed until it is told to go on")),
    startedMs: must(count("When it began, in milliseconds since 1970")),
    keyHost: must(text("The host that has the key of the new authority")),
    fingerprint: must(text("The new authority: its SHA-256 fingerprint")),
    waitsFor: must(list("Hosts that have not taken the step", waitShape)),
  },
};

export const rotateRequestShape: ObjectShape<RotateRequest> = {
  kind: "object",
  description: "How to replace the authority",
  fields: {
    hold: may(flag("Stay where both are believed, until this is asked for again without it")),
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
    authority: must(text("The authority that has signed it: its SHA-256 fingerprint")),
    rotation: may(rotationShape),
    removed: must(list("Hosts whose certificates are refused", removedShape)),
  },
};
