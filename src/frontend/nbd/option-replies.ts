/** Replies of the negotiation, as bytes. Rare and small: each is an array of its own. */
import { assert, encodeUtf8 } from "../../base/index.ts";
import { setU16, setU32, setU64 } from "./big-endian.ts";
import type { ExportInfo } from "./export-catalog.ts";
import {
  BLOCK_BYTES_MIN,
  BLOCK_BYTES_PREFERRED,
  EXPORT_NAME_PADDING_BYTES,
  GREETING_BYTES,
  HandshakeFlag,
  Info,
  OPTION_MAGIC,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  OptionReply,
  PAYLOAD_BYTES_MAX,
  SERVER_MAGIC,
  STRING_BYTES_MAX,
  TransmissionFlag,
} from "./wire.ts";

/** Error texts may quote what a client sent: they are cut. */
const ERROR_TEXT_CHARACTERS_MAX = 240;

export function greeting(): Uint8Array {
  const bytes = new Uint8Array(GREETING_BYTES);
  setU32(bytes, 0, SERVER_MAGIC[0]);
  setU32(bytes, 4, SERVER_MAGIC[1]);
  setU32(bytes, 8, OPTION_MAGIC[0]);
  setU32(bytes, 12, OPTION_MAGIC[1]);
  setU16(bytes, 16, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
  return bytes;
}

export function optionReply(option: number, type: number, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(OPTION_REPLY_HEADER_BYTES + payloadBytes);
  setU32(bytes, 0, OPTION_REPLY_MAGIC[0]);
  setU32(bytes, 4, OPTION_REPLY_MAGIC[1]);
  setU32(bytes, 8, option);
  setU32(bytes, 12, type);
  setU32(bytes, 16, payloadBytes);
  return bytes;
}

export function errorReply(option: number, type: number, text: string): Uint8Array {
  return textReply(
    option,
    type,
    new Uint8Array(0),
    encodeUtf8(text.slice(0, ERROR_TEXT_CHARACTERS_MAX)),
  );
}

export function serverReply(option: number, info: ExportInfo): Uint8Array {
  const name = encodeUtf8(info.name);
  assert(name.length <= STRING_BYTES_MAX, "export name is too long");
  const prefix = new Uint8Array(4 + name.length);
  setU32(prefix, 0, name.length);
  prefix.set(name, 4);
  return textReply(option, OptionReply.server, prefix, description(info));
}

export function metaContextReply(option: number, id: number, context: string): Uint8Array {
  const prefix = new Uint8Array(4);
  setU32(prefix, 0, id);
  return textReply(option, OptionReply.metaContext, prefix, encodeUtf8(context));
}

export function exportInfoReply(option: number, info: ExportInfo, flags: number): Uint8Array {
  const bytes = optionReply(option, OptionReply.info, 12);
  setU16(bytes, OPTION_REPLY_HEADER_BYTES, Info.export);
  setU64(bytes, OPTION_REPLY_HEADER_BYTES + 2, info.sizeBytes);
  setU16(bytes, OPTION_REPLY_HEADER_BYTES + 10, flags);
  return bytes;
}

export function blockSizeReply(option: number): Uint8Array {
  const bytes = optionReply(option, OptionReply.info, 14);
  setU16(bytes, OPTION_REPLY_HEADER_BYTES, Info.blockSize);
  setU32(bytes, OPTION_REPLY_HEADER_BYTES + 2, BLOCK_BYTES_MIN);
  setU32(bytes, OPTION_REPLY_HEADER_BYTES + 6, BLOCK_BYTES_PREFERRED);
  setU32(bytes, OPTION_REPLY_HEADER_BYTES + 10, PAYLOAD_BYTES_MAX);
  return bytes;
}

export function nameInfoReply(option: number, info: ExportInfo): Uint8Array {
  return infoTextReply(option, Info.name, encodeUtf8(info.name));
}

export function descriptionInfoReply(option: number, info: ExportInfo): Uint8Array {
  return infoTextReply(option, Info.description, description(info));
}

/** The answer to EXPORT_NAME, which has no reply header. */
export function exportNameAnswer(info: ExportInfo, flags: number, noZeroes: boolean): Uint8Array {
  const bytes = new Uint8Array(10 + (noZeroes ? 0 : EXPORT_NAME_PADDING_BYTES));
  setU64(bytes, 0, info.sizeBytes);
  setU16(bytes, 8, flags);
  return bytes;
}

/** DF needs structured replies; the flags for changes are left out where nothing may change. */
export function transmissionFlags(readOnly: boolean, structured: boolean): number {
  const flag = TransmissionFlag;
  const always =
    flag.hasFlags | flag.sendFlush | flag.sendFua | flag.sendCache | flag.canMultiConnection;
  const changes = flag.sendTrim | flag.sendWriteZeroes | flag.sendFastZero;
  return always | (readOnly ? flag.readOnly : changes) | (structured ? flag.sendDontFragment : 0);
}

function description(info: ExportInfo): Uint8Array {
  const text = encodeUtf8(info.description);
  assert(text.length <= STRING_BYTES_MAX, "export description is too long");
  return text;
}

function infoTextReply(option: number, info: number, text: Uint8Array): Uint8Array {
  const prefix = new Uint8Array(2);
  setU16(prefix, 0, info);
  return textReply(option, OptionReply.info, prefix, text);
}

function textReply(option: number, type: number, prefix: Uint8Array, text: Uint8Array): Uint8Array {
  const bytes = optionReply(option, type, prefix.length + text.length);
  bytes.set(prefix, OPTION_REPLY_HEADER_BYTES);
  bytes.set(text, OPTION_REPLY_HEADER_BYTES + prefix.length);
  return bytes;
}
