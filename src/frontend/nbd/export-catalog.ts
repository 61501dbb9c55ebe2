import type { CodedError } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";

/** What a client may see of an export before it is opened. */
export interface ExportInfo {
  /** The canonical name. At most 4096 bytes of UTF-8. */
  readonly name: string;
  /** For people, empty if there is none. */
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

/** The other end of a connection, as far as a catalog may base its answer on it. */
export interface NbdClient {
  readonly remote: string;
  /** Who it has proven to be; undefined where nobody has to. */
  readonly name: string | undefined;
}

/**
 * The volumes that one NBD listener offers. Nothing here may touch a volume's data; `describe` is
 * called any number of times by clients that never go further.
 *
 * Refusals are returned, not thrown. Codes the protocol can tell apart: `export-denied` and
 * `shutting-down`; every other code reads as "no such export" to the client.
 */
export interface ExportCatalog {
  /** What LIST answers. Exports that `describe` knows may be left out. */
  list(client: NbdClient): readonly ExportInfo[];
  /** The empty name asks for the default export. */
  describe(name: string, client: NbdClient): ExportInfo | CodedError;
  /** Called once per connection, at the end of its negotiation, with the canonical name. */
  open(name: string, client: NbdClient): VolumeIo | CodedError;
}
