/**
 * How the embedded directory lies in its metadata store. A key of the directory may be longer than
 * a key of the store, so each record is a row with a number:
 *
 *   dir/state        {format, revision, nextId}
 *   dir/r + number   {rowId, key, value, revision, leaseId?}
 *   dir/l + number   {leaseId, ttlMs}
 *
 * Rows are JSON in ASCII (everything else escaped), so they read back the same everywhere.
 */
import { assert, CodedError, decodeAscii, setU32 } from "../base/index.ts";
import { METADATA_VALUE_BYTES_MAX } from "../ports/index.ts";
import type { MetadataBatch, MetadataStore } from "../ports/index.ts";
import { encodeAscii, encodeAsciiJson } from "./ascii-json.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const STATE_KEY = encodeAscii("dir/state");
const RECORD_PREFIX = encodeAscii("dir/r");
const LEASE_PREFIX = encodeAscii("dir/l");
const ID_MAX = 2 ** 48;

export interface DirectoryRow {
  readonly rowId: number;
  readonly key: string;
  readonly value: string;
  readonly revision: number;
  readonly leaseId: number | undefined;
}

export interface LeaseRow {
  readonly leaseId: number;
  readonly ttlMs: number;
}

export class DirectoryRows {
  readonly revision: number;
  readonly records: readonly DirectoryRow[];
  readonly leases: readonly LeaseRow[];
  #nextId: number;

  private constructor(
    state: { readonly revision: number; readonly nextId: number },
    records: readonly DirectoryRow[],
    leases: readonly LeaseRow[],
  ) {
    this.revision = state.revision;
    this.#nextId = state.nextId;
    this.records = records;
    this.leases = leases;
  }

  static load(store: MetadataStore): DirectoryRows {
    const records: DirectoryRow[] = [];
    const leases: LeaseRow[] = [];
    scanPrefix(store, RECORD_PREFIX, (text) => records.push(parseRecord(text)));
    scanPrefix(store, LEASE_PREFIX, (text) => leases.push(parseLease(text)));
    const text = store.get(STATE_KEY);
    if (text === undefined) {
      if (records.length + leases.length > 0)
        throw new CodedError({
          code: "record-invalid",
          message: "the embedded directory has records but no state",
          hint: "restore the directory from a backup",
        });
      return new DirectoryRows({ revision: 0, nextId: 1 }, records, leases);
    }
    const fields = RecordFields.parse("the state", decodeAscii(text), FORMAT);
    const revision = fields.integer("revision", 0, Number.MAX_SAFE_INTEGER);
    const nextId = fields.integer("nextId", 1, ID_MAX);
    return new DirectoryRows({ revision, nextId }, records, leases);
  }

  /** A number for a new row. Stored with the next `putState`, which every new row comes with. */
  takeId(): number {
    assert(this.#nextId < ID_MAX, "the directory has run out of row numbers");
    return this.#nextId++;
  }

  putState(batch: MetadataBatch, revision: number): void {
    batch.put(STATE_KEY, encodeAsciiJson({ format: FORMAT, revision, nextId: this.#nextId }));
  }

  putRecord(batch: MetadataBatch, row: DirectoryRow): void {
    const bytes = encodeAsciiJson({ format: FORMAT, ...row });
    if (bytes.length > METADATA_VALUE_BYTES_MAX)
      throw new CodedError({
        code: "directory-value-too-long",
        message: `the value of ${row.key} is too long: a row of ${bytes.length} bytes`,
        hint: `the directory holds rows of up to ${METADATA_VALUE_BYTES_MAX} bytes`,
      });
    batch.put(rowKey(RECORD_PREFIX, row.rowId), bytes);
  }

  deleteRecord(batch: MetadataBatch, row: DirectoryRow): void {
    batch.delete(rowKey(RECORD_PREFIX, row.rowId));
  }

  putLease(batch: MetadataBatch, lease: LeaseRow): void {
    batch.put(rowKey(LEASE_PREFIX, lease.leaseId), encodeAsciiJson({ format: FORMAT, ...lease }));
  }

  deleteLease(batch: MetadataBatch, lease: LeaseRow): void {
    batch.delete(rowKey(LEASE_PREFIX, lease.leaseId));
  }
}

function parseRecord(text: string): DirectoryRow {
  const fields = RecordFields.parse("a row", text, FORMAT);
  return {
    rowId: fields.integer("rowId", 1, ID_MAX),
    key: fields.text("key"),
    value: fields.anyText("value"),
    revision: fields.integer("revision", 1, Number.MAX_SAFE_INTEGER),
    leaseId: fields.has("leaseId") ? fields.integer("leaseId", 1, ID_MAX) : undefined,
  };
}

function parseLease(text: string): LeaseRow {
  const fields = RecordFields.parse("a lease", text, FORMAT);
  return {
    leaseId: fields.integer("leaseId", 1, ID_MAX),
    ttlMs: fields.number("ttlMs"),
  };
}

function scanPrefix(store: MetadataStore, prefix: Uint8Array, visit: (text: string) => void): void {
  const end = prefix.slice();
  end[end.length - 1]!++;
  store.scan(prefix, end, (_key, value) => {
    visit(decodeAscii(value));
    return true;
  });
}

/** Big-endian, so that rows lie in the order of their numbers. */
function rowKey(prefix: Uint8Array, id: number): Uint8Array {
  const key = new Uint8Array(prefix.length + 8);
  key.set(prefix);
  setU32(key, prefix.length, Math.floor(id / 2 ** 32));
  setU32(key, prefix.length + 4, id % 2 ** 32);
  key.subarray(prefix.length, prefix.length + 4).reverse();
  key.subarray(prefix.length + 4).reverse();
  return key;
}
