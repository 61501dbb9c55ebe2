/** Error codes about who may do what: certificates, tokens of the API, clients over NBD. */
import { row } from "./error-code.ts";
import type { ErrorCode } from "./error-code.ts";

export const securityErrorCodes: Readonly<Record<string, ErrorCode>> = {
  "certificate-refused": row(
    502,
    "Whoever listens there does not prove to belong to this cluster",
    "Check the address; a host of another cluster may listen there",
  ),
  "certificate-invalid": row(
    500,
    "The host's own certificates cannot be used",
    "Restore the tls folder from a backup, or have the host join again",
  ),
  "certificate-required": row(
    401,
    "The API over TCP is for those who show a certificate of the cluster",
    "On a host set DRYSTONE_TLS to its tls folder, or use --api unix:STATE/api.sock",
  ),
  "access-denied": row(
    401,
    "The token that was shown is none of this cluster's, or was taken back",
    "An admin makes one with drystone access create",
  ),
  "access-expired": row(401, "The token has expired", "drystone access create makes another one"),
  "access-unknown": row(404, "No token has this id", "drystone access list"),
  "role-too-low": row(
    403,
    "The token's role may not do this",
    "Use a token with the role that docs/operating/commands.md names",
  ),
  "scope-missing": row(403, "The token is for other groups of commands", "Use another token"),
  "too-many-attempts": row(
    429,
    "Too many wrong tokens came from this address within a minute",
    "Wait a minute, and check the token",
  ),
  "client-exists": row(409, "A client has this name already", "Choose another one, or delete it"),
  "client-unknown": row(404, "No client has this name", "drystone client list"),
  "too-many-clients": row(
    409,
    "There are as many clients over NBD as there may be",
    "drystone client delete removes those that are not needed any more",
  ),
};
