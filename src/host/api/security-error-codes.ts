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
  "boot-file-refused": row(
    403,
    "Machines may not boot from this file of the host",
    "Put it into one of the host's bootFolders (docs/operating/install.md)",
  ),
  "scope-missing": row(403, "The token is for other groups of commands", "Use another token"),
  "too-many-attempts": row(
    429,
    "Too many wrong tokens or requests to join came from this address within a minute",
    "Wait a minute, and check the token",
  ),
  "cluster-key-missing": row(
    409,
    "This host does not have the cluster key, which encrypted volumes need",
    "Copy the key file from a host that has it; drystone key show tells which ones do",
  ),
  "cluster-key-invalid": row(
    409,
    "The file with the cluster key cannot be used: its content, or who may read it",
    "The message says what is wrong; copy the file from a host that has it",
  ),
  "cluster-key-wrong": row(
    409,
    "The host has another cluster key than the one that the volume's key is sealed with",
    "Copy the key file from a host that serves encrypted volumes",
  ),
  "cluster-key-unused": row(
    409,
    "Nothing is encrypted with the cluster key yet, so that it need not be changed",
    "To have another one, put it into the key file of every host",
  ),
  "key-domain-unknown": row(404, "No key domain has this name", "drystone key-domain list"),
  "key-domain-in-use": row(
    409,
    "Volumes or snapshots are encrypted with the key that is to be destroyed",
    "Delete them first; drystone key-domain list shows them",
  ),
  "key-domain-gone": row(
    410,
    "The key that the volume is encrypted with was destroyed: its content is lost",
    "Delete the volume",
  ),
  "too-many-key-domains": row(
    409,
    "There are as many key domains as there may be",
    "drystone key-domain destroy removes those that are not needed any more",
  ),
  "encryption-fixed": row(
    409,
    "A volume is encrypted from the beginning or never",
    "Create another volume and copy: the hint has the steps",
  ),
  "client-exists": row(409, "A client has this name already", "Choose another one, or delete it"),
  "client-unknown": row(404, "No client has this name", "drystone client list"),
  "too-many-clients": row(
    409,
    "There are as many clients over NBD as there may be",
    "drystone client delete removes those that are not needed any more",
  ),
};
