/**
 * The negotiation of one connection (fixed newstyle). It ends with an agreement, with the client's
 * goodbye, or with a violation. Until then only the catalog is asked; no volume is touched.
 *
 * Where TLS is required, nothing but STARTTLS and ABORT is done before it, and whatever somebody in
 * the middle may have planted is gone after it: options that were sent along with STARTTLS end the
 * connection, and nothing that was agreed on before is kept. Elsewhere STARTTLS is not offered.
 */
import { CodedError, assert } from "../../base/index.ts";
import { getU32 } from "./big-endian.ts";
import type { ExportCatalog, ExportInfo, NbdClient } from "./export-catalog.ts";
import { parseInfoRequest, parseMetaContextRequest, parseName } from "./option-data.ts";
import type { MetaContextRequest } from "./option-data.ts";
import {
  blockSizeReply,
  descriptionInfoReply,
  errorReply,
  exportInfoReply,
  exportNameAnswer,
  greeting,
  metaContextReply,
  nameInfoReply,
  optionReply,
  serverReply,
  transmissionFlags,
} from "./option-replies.ts";
import type { Agreement } from "./transmission.ts";
import {
  ALLOCATION_CONTEXT,
  ALLOCATION_CONTEXT_ID,
  ALLOCATION_NAMESPACE,
  CLIENT_FLAGS_BYTES,
  EXPORTS_LISTED_MAX,
  HandshakeFlag,
  Info,
  OPTION_BYTES_MAX,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  OPTION_SKIP_BYTES_MAX,
  OPTIONS_MAX,
  Option,
  OptionReply,
} from "./wire.ts";

export interface HandshakeOwner {
  /** Sends bytes. False: stop until there is room. */
  send(bytes: Uint8Array): boolean;
  agreed(agreement: Agreement): void;
  /** The client said goodbye. */
  aborted(): void;
  /** Sends this answer, puts the stream under TLS, and calls `secured`. */
  secure(answer: Uint8Array): void;
  violation(reason: string): void;
}

type Stage = "flags" | "header" | "data" | "skip" | "securing" | "over";
/** Whether the client has to ask for it, and has. */
type Tls = "none" | "wanted" | "on";

export class Handshake {
  readonly #catalog: ExportCatalog;
  #client: NbdClient;
  #tls: Tls;
  readonly #owner: HandshakeOwner;
  #stage: Stage = "flags";
  /** Bytes of the stage at hand, gathered up to `#wanted`. */
  #buffer = new Uint8Array(OPTION_HEADER_BYTES);
  #gathered = 0;
  #wanted = CLIENT_FLAGS_BYTES;
  #option = 0;
  #optionCount = 0;
  #isFixed = false;
  #noZeroes = false;
  #structured = false;
  /** The export whose allocation context the client has set. */
  #contextExport: string | undefined;
  #isCongested = false;

  constructor(
    catalog: ExportCatalog,
    { remote, requiresTls }: { readonly remote: string; readonly requiresTls: boolean },
    owner: HandshakeOwner,
  ) {
    this.#catalog = catalog;
    this.#client = { remote, name: undefined };
    this.#tls = requiresTls ? "wanted" : "none";
    this.#owner = owner;
  }

  get isOver(): boolean {
    return this.#stage === "over";
  }

  get isCongested(): boolean {
    return this.#isCongested;
  }

  /** Nothing may arrive meanwhile: what does was not sent under TLS. */
  get isSecuring(): boolean {
    return this.#stage === "securing";
  }

  start(): void {
    this.#send(greeting());
  }

  /** What was sent has left: `consume` goes on. */
  drained(): void {
    this.#isCongested = false;
  }

  /** The stream is under TLS, and this is its client. Only the client's flags are still good. */
  secured(name: string): void {
    assert(this.isSecuring, "TLS comes when it was asked for");
    this.#tls = "on";
    this.#client = { ...this.#client, name };
    this.#structured = false;
    this.#contextExport = undefined;
    this.#expect("header", OPTION_HEADER_BYTES);
  }

  /** Takes what it can of `bytes[start..end)` and returns where it stopped. */
  consume(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (!this.isOver && !this.#isCongested) {
      if (this.isSecuring) {
        if (at < end) this.#violation("bytes followed STARTTLS before it was answered");
        break;
      }
      const count = Math.min(end - at, this.#wanted - this.#gathered);
      if (this.#stage !== "skip") this.#buffer.set(bytes.subarray(at, at + count), this.#gathered);
      this.#gathered += count;
      at += count;
      if (this.#gathered < this.#wanted) break;
      this.#advance();
    }
    return at;
  }

  #advance(): void {
    const stage = this.#stage;
    if (stage === "flags") this.#readFlags();
    else if (stage === "header") this.#readHeader();
    else {
      const data = this.#buffer.subarray(0, this.#gathered);
      this.#expect("header", OPTION_HEADER_BYTES);
      if (!this.#mayRun(this.#option)) this.#refuseUnsecured();
      else if (stage === "data") this.#runOption(data);
      else this.#refuse(OptionReply.tooBig, `option data is longer than ${OPTION_BYTES_MAX} bytes`);
    }
  }

  #expect(stage: Stage, wanted: number): void {
    this.#stage = stage;
    this.#wanted = wanted;
    this.#gathered = 0;
    if (stage !== "skip" && this.#buffer.length < wanted) this.#buffer = new Uint8Array(wanted);
  }

  #readFlags(): void {
    const flags = getU32(this.#buffer, 0);
    const known = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;
    if ((flags & ~known) !== 0) {
      this.#violation("the client set unknown handshake flags");
      return;
    }
    this.#isFixed = (flags & HandshakeFlag.fixedNewstyle) !== 0;
    this.#noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
    this.#expect("header", OPTION_HEADER_BYTES);
  }

  #readHeader(): void {
    const buffer = this.#buffer;
    const lengthBytes = getU32(buffer, 12);
    this.#option = getU32(buffer, 8);
    if (getU32(buffer, 0) !== OPTION_MAGIC[0] || getU32(buffer, 4) !== OPTION_MAGIC[1]) {
      this.#violation("an option does not start with the option magic");
    } else if (++this.#optionCount > OPTIONS_MAX) {
      this.#violation(`the client sent more than ${OPTIONS_MAX} options`);
    } else if (!this.#isFixed && this.#option !== Option.exportName) {
      this.#violation("a client without fixed newstyle sent something other than EXPORT_NAME");
    } else if (lengthBytes <= OPTION_BYTES_MAX) this.#expect("data", lengthBytes);
    else if (lengthBytes <= OPTION_SKIP_BYTES_MAX && this.#option !== Option.exportName) {
      this.#expect("skip", lengthBytes);
    } else this.#violation(`an option announces ${lengthBytes} bytes`);
  }

  #mayRun(option: number): boolean {
    return this.#tls !== "wanted" || option === Option.startTls || option === Option.abort;
  }

  #refuseUnsecured(): void {
    const text = "this server requires TLS";
    // The old way in has no answer that says no.
    if (this.#option === Option.exportName) this.#violation("the client asked for no TLS");
    else this.#refuse(OptionReply.tlsRequired, text);
  }

  /** One row per option. EXTENDED_HEADERS is known, and not offered. */
  #runOption(data: Uint8Array): void {
    switch (this.#option) {
      case Option.exportName:
        return this.#exportName(data);
      case Option.abort:
        return this.#abort();
      case Option.list:
        return this.#list(data);
      case Option.info:
      case Option.go:
        return this.#infoOrGo(data);
      case Option.structuredReply:
        return this.#structuredReply(data);
      case Option.listMetaContext:
      case Option.setMetaContext:
        return this.#metaContext(data);
      case Option.startTls:
        return this.#startTls(data);
      case Option.extendedHeaders:
        return this.#refuse(OptionReply.unsupported, "this server has no extended headers");
      default:
        return this.#refuse(OptionReply.unsupported, `option ${this.#option} is not known`);
    }
  }

  /** The old way in: no error can be reported, only the connection ended. */
  #exportName(data: Uint8Array): void {
    const name = parseName(data);
    const info = name === undefined ? undefined : this.#catalog.describe(name, this.#client);
    if (info === undefined || info instanceof CodedError) {
      this.#violation(info?.message ?? "the export name is malformed");
      return;
    }
    const volume = this.#catalog.open(info.name, this.#client);
    if (volume instanceof CodedError) {
      this.#violation(volume.message);
      return;
    }
    const flags = transmissionFlags(info.readOnly, this.#structured);
    this.#send(exportNameAnswer(info, flags, this.#noZeroes));
    this.#agree(info, volume);
  }

  #startTls(data: Uint8Array): void {
    if (this.#tls === "none")
      this.#refuse(OptionReply.unsupported, "this server does not offer TLS");
    else if (this.#tls === "on") this.#refuse(OptionReply.invalid, "TLS is on already");
    else if (data.length > 0) this.#refuse(OptionReply.invalid, "STARTTLS carries no data");
    else {
      this.#stage = "securing";
      this.#owner.secure(optionReply(this.#option, OptionReply.ack, 0));
    }
  }

  #abort(): void {
    this.#send(optionReply(this.#option, OptionReply.ack, 0));
    this.#stage = "over";
    this.#owner.aborted();
  }

  #list(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(OptionReply.invalid, "LIST carries no data");
      return;
    }
    const exports = this.#catalog.list(this.#client).slice(0, EXPORTS_LISTED_MAX);
    for (const info of exports) this.#send(serverReply(this.#option, info));
    this.#send(optionReply(this.#option, OptionReply.ack, 0));
  }

  #infoOrGo(data: Uint8Array): void {
    const request = parseInfoRequest(data);
    if (request === undefined) {
      this.#refuse(OptionReply.invalid, "the lengths in the request do not fit together");
      return;
    }
    const info = this.#describe(request.name);
    if (info === undefined) return;
    if (this.#option === Option.go) {
      const volume = this.#catalog.open(info.name, this.#client);
      if (volume instanceof CodedError) this.#refuseCoded(volume);
      else {
        this.#sendInfos(info, request.infos);
        this.#agree(info, volume);
      }
    } else this.#sendInfos(info, request.infos);
  }

  #sendInfos(info: ExportInfo, asked: ReadonlySet<number>): void {
    const option = this.#option;
    const flags = transmissionFlags(info.readOnly, this.#structured);
    this.#send(exportInfoReply(option, info, flags));
    this.#send(blockSizeReply(option));
    if (asked.has(Info.name)) this.#send(nameInfoReply(option, info));
    if (asked.has(Info.description)) this.#send(descriptionInfoReply(option, info));
    this.#send(optionReply(option, OptionReply.ack, 0));
  }

  #structuredReply(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(OptionReply.invalid, "STRUCTURED_REPLY carries no data");
      return;
    }
    this.#structured = true;
    this.#send(optionReply(this.#option, OptionReply.ack, 0));
  }

  #metaContext(data: Uint8Array): void {
    const isSet = this.#option === Option.setMetaContext;
    if (isSet) this.#contextExport = undefined;
    const request = parseMetaContextRequest(data);
    if (request === undefined) {
      this.#refuse(OptionReply.invalid, "the lengths in the request do not fit together");
    } else if (!this.#structured) {
      this.#refuse(OptionReply.invalid, "contexts need structured replies first");
    } else {
      const info = this.#describe(request.name);
      if (info !== undefined) this.#sendContexts(info, request, isSet);
    }
  }

  #sendContexts(info: ExportInfo, request: MetaContextRequest, isSet: boolean): void {
    const { queries } = request;
    const isListed = !isSet && (queries.length === 0 || queries.includes(ALLOCATION_NAMESPACE));
    if (isListed || queries.includes(ALLOCATION_CONTEXT)) {
      if (isSet) this.#contextExport = info.name;
      const id = isSet ? ALLOCATION_CONTEXT_ID : 0;
      this.#send(metaContextReply(this.#option, id, ALLOCATION_CONTEXT));
    }
    this.#send(optionReply(this.#option, OptionReply.ack, 0));
  }

  #describe(name: string): ExportInfo | undefined {
    const info = this.#catalog.describe(name, this.#client);
    if (!(info instanceof CodedError)) return info;
    this.#refuseCoded(info);
    return undefined;
  }

  #refuseCoded(error: CodedError): void {
    if (error.code === "export-denied") this.#refuse(OptionReply.policy, error.message);
    else if (error.code === "shutting-down") this.#refuse(OptionReply.shutdown, error.message);
    else this.#refuse(OptionReply.unknown, error.message);
  }

  #refuse(type: number, text: string): void {
    this.#send(errorReply(this.#option, type, text));
  }

  #agree(info: ExportInfo, volume: Agreement["volume"]): void {
    assert(!this.isOver, "a handshake ends once");
    this.#stage = "over";
    this.#owner.agreed({
      exportName: info.name,
      volume,
      structured: this.#structured,
      allocationContext: this.#contextExport === info.name,
    });
  }

  #violation(reason: string): void {
    this.#stage = "over";
    this.#owner.violation(reason);
  }

  #send(bytes: Uint8Array): void {
    if (!this.#owner.send(bytes)) this.#isCongested = true;
  }
}
