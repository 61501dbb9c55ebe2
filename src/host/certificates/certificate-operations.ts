/** The rows of the operation table that are about certificates, and hosts that go for good. */
import { certificateShape, rotateRequestShape } from "./certificate-views.ts";
import type { OperationTable } from "../api/operations.ts";
import { doneShape, nameRequestShape, nothingShape } from "../api/view-shapes.ts";

type CertificateOperation =
  | "certificate.show"
  | "certificate.renew"
  | "certificate.rotate-authority"
  | "host.remove";

export const certificateOperations: Pick<OperationTable, CertificateOperation> = {
  "certificate.show": {
    name: "certificate.show",
    words: ["certificate", "show"],
    summary: "Show the certificate of the host that is asked, and which hosts are refused",
    examples: [{ line: "drystone certificate show", why: "how long is it good?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/certificate",
    scope: "host",
    role: "viewer",
    request: nothingShape,
    response: certificateShape,
    errors: ["not-supported"],
  },
  "certificate.renew": {
    name: "certificate.renew",
    words: ["certificate", "renew"],
    summary: "Have the certificate of the host that is asked made anew now",
    examples: [
      {
        line: "drystone certificate renew",
        why: "hosts do so by themselves, a year before the end",
      },
    ],
    positionals: [],
    options: [],
    method: "POST",
    path: "/v1/certificate/renew",
    scope: "host",
    role: "admin",
    request: nothingShape,
    response: certificateShape,
    errors: ["not-supported", "authority-away"],
  },
  "certificate.rotate-authority": {
    name: "certificate.rotate-authority",
    words: ["certificate", "rotate-authority"],
    summary: "Replace the cluster's authority while all hosts run, or go on with what has begun",
    examples: [
      {
        line: "drystone certificate rotate-authority --hold",
        why: "hosts believe both; give tls/ca.crt to clients now",
      },
      {
        line: "drystone certificate rotate-authority",
        why: "new certificates, then the old one goes",
      },
    ],
    positionals: [],
    options: [
      { name: "hold", field: "hold", kind: "flag", summary: "Stay where both are believed" },
    ],
    method: "POST",
    path: "/v1/certificate/rotate-authority",
    scope: "host",
    role: "admin",
    request: rotateRequestShape,
    response: certificateShape,
    errors: ["not-supported", "rotation-contended", "upgrade-not-finalized"],
  },
  "host.remove": {
    name: "host.remove",
    words: ["host", "remove"],
    summary: "Take a host that is gone out of the cluster: its certificate is refused from then on",
    examples: [
      { line: "drystone host remove h2", why: "it is stopped, and nothing is on it any more" },
    ],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/hosts/:name/remove",
    scope: "cluster",
    role: "admin",
    request: nameRequestShape,
    response: doneShape,
    errors: ["host-unknown", "host-up", "host-in-use"],
    danger: "Host NAME can never come back: it would have to join anew, with empty devices.",
  },
};
