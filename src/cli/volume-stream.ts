/** The stream of an exported volume, written and read frame by frame. */
import { CodedError, decodeUtf8, encodeUtf8, errorText } from "../base/index.ts";
import {
  decodeExportFrame,
  encodeExportFrame,
  EXPORT_BODY_BYTES_MAX,
  EXPORT_DATA,
  EXPORT_END,
  EXPORT_HEAD,
  EXPORT_ZEROES,
  ExportFrameLayout,
  exportFrameIsIntact,
} from "../format/index.ts";
import { StreamEnded } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";

export interface StreamHead {
  readonly volume: string;
  readonly snapshot: string;
  readonly sizeBytes: number;
  /** Of all that the importer will hold. */
  readonly digest: string;
  /** Set if digests are of encrypted blocks: those of one key domain alone compare. */
  readonly domainId?: string;
  /** What has to be there before; everything is in the stream if absent. */
  readonly base?: { readonly snapshot: string; readonly digest: string };
}

export type StreamPart =
  | { readonly kind: "data"; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "zeroes"; readonly offset: number; readonly lengthBytes: number };

export class StreamWriter {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #index = 0;
  bytes = 0;

  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  async head(head: StreamHead): Promise<void> {
    await this.#frame(EXPORT_HEAD, encodeUtf8(JSON.stringify(head)));
  }

  async part(part: StreamPart): Promise<void> {
    const { offset } = part;
    if (part.kind === "data") await this.#frame(EXPORT_DATA, part.data, offset, part.data.length);
    else await this.#frame(EXPORT_ZEROES, new Uint8Array(0), offset, part.lengthBytes);
  }

  async end(): Promise<void> {
    await this.#frame(EXPORT_END, new Uint8Array(0));
  }

  async #frame(kind: number, body: Uint8Array, offset = 0, lengthBytes = 0): Promise<void> {
    const index = this.#index++;
    const frame = { kind, index, bodyBytes: body.length, offset, lengthBytes };
    await this.#write(encodeExportFrame(frame, body));
    if (body.length > 0) await this.#write(body);
    this.bytes += ExportFrameLayout.sizeBytes + body.length;
  }
}

/** Everything that it cannot believe is `stream-invalid`. */
export class StreamReader {
  readonly #source: ByteSource;
  #index = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async head(): Promise<StreamHead> {
    const { kind, body } = await this.#frame();
    if (kind !== EXPORT_HEAD) throw invalid("it does not begin with a head");
    try {
      return headOf(JSON.parse(decodeUtf8(body) ?? ""));
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw invalid(`its head cannot be understood: ${errorText(error)}`);
    }
  }

  /** Undefined at the end, behind which nothing may come. */
  async next(sizeBytes: number): Promise<StreamPart | undefined> {
    const { kind, body, offset, lengthBytes } = await this.#frame();
    if (kind === EXPORT_END) {
      if ((await this.#source.takeUpTo(1)).length > 0)
        throw invalid("something follows behind its end");
      return undefined;
    }
    const isInside = lengthBytes > 0 && offset + lengthBytes <= sizeBytes;
    if (!isInside || (kind !== EXPORT_DATA && kind !== EXPORT_ZEROES))
      throw invalid(`frame ${this.#index - 1} is none that can be here`);
    if (kind === EXPORT_ZEROES) return { kind: "zeroes", offset, lengthBytes };
    if (body.length !== lengthBytes) throw invalid("a frame has data of another length");
    return { kind: "data", offset, data: body };
  }

  async #frame(): Promise<{
    readonly kind: number;
    readonly body: Uint8Array;
    readonly offset: number;
    readonly lengthBytes: number;
  }> {
    const header = await this.#take(ExportFrameLayout.sizeBytes);
    const frame = decodeExportFrame(header);
    if (frame === undefined)
      throw invalid(
        this.#index === 0
          ? "it is none of Drystone's, or of a version that this one does not know"
          : `frame ${this.#index} is damaged`,
      );
    if (frame.bodyBytes > EXPORT_BODY_BYTES_MAX) throw invalid(`frame ${this.#index} is damaged`);
    const body = await this.#take(frame.bodyBytes);
    if (!exportFrameIsIntact(header, body) || frame.index !== this.#index)
      throw invalid(`frame ${this.#index} is damaged`);
    this.#index++;
    return { kind: frame.kind, body, offset: frame.offset, lengthBytes: frame.lengthBytes };
  }

  async #take(lengthBytes: number): Promise<Uint8Array> {
    try {
      return await this.#source.take(lengthBytes);
    } catch (error) {
      if (error instanceof StreamEnded) throw invalid("it ends before its end");
      throw new CodedError(
        {
          code: "file-unreadable",
          message: `the stream cannot be read: ${errorText(error)}`,
          hint: "give a file that an export has written with --input",
        },
        { cause: error },
      );
    }
  }
}

function headOf(value: unknown): StreamHead {
  const said: Partial<Record<keyof StreamHead, unknown>> =
    typeof value === "object" && value !== null ? value : {};
  const { volume, snapshot, sizeBytes, digest, base, domainId } = said;
  const isWhole =
    typeof volume === "string" &&
    typeof snapshot === "string" &&
    typeof sizeBytes === "number" &&
    typeof digest === "string";
  if (!isWhole) throw invalid("its head lacks something");
  return {
    volume,
    snapshot,
    sizeBytes,
    digest,
    ...(typeof domainId === "string" ? { domainId } : {}),
    ...(base === undefined ? {} : { base: baseOf(base) }),
  };
}

function baseOf(value: unknown): NonNullable<StreamHead["base"]> {
  const said: { snapshot?: unknown; digest?: unknown } =
    typeof value === "object" && value !== null ? value : {};
  const { snapshot, digest } = said;
  if (typeof snapshot === "string" && typeof digest === "string") return { snapshot, digest };
  throw invalid("its head lacks something");
}

function invalid(why: string): CodedError {
  return new CodedError({
    code: "stream-invalid",
    message: `the stream cannot be imported: ${why}`,
    hint: "export it again; nothing was kept of it",
  });
}
