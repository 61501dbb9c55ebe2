/** What each command may carry, one row per command, and why a request is refused. */
import type { IoFault } from "../../object/index.ts";
import { BLOCK_BYTES_MIN, Command, CommandFlag, Errno, PAYLOAD_BYTES_MAX } from "./wire.ts";

interface CommandRule {
  readonly flags: number;
  /** Changes the volume: refused on read-only exports. */
  readonly writes: boolean;
  readonly lengthBytesMax: number;
  /** The error for a range beyond the end. */
  readonly beyondEnd: number;
}

const ANY_LENGTH = 2 ** 32;
const { fua, noHole, dontFragment, requestOne, fastZero } = CommandFlag;

/** FUA is valid with every command and means something with those that write. */
const reading = (flags: number, lengthBytesMax: number): CommandRule => {
  return { flags: flags | fua, writes: false, lengthBytesMax, beyondEnd: Errno.invalid };
};
const writing = (flags: number, lengthBytesMax: number, beyondEnd: number): CommandRule => {
  return { flags: flags | fua, writes: true, lengthBytesMax, beyondEnd };
};

const rules: (CommandRule | undefined)[] = [];
rules[Command.read] = reading(dontFragment, PAYLOAD_BYTES_MAX);
rules[Command.write] = writing(0, PAYLOAD_BYTES_MAX, Errno.noSpace);
rules[Command.flush] = reading(0, 0);
rules[Command.trim] = writing(0, ANY_LENGTH, Errno.invalid);
rules[Command.cache] = reading(0, ANY_LENGTH);
rules[Command.writeZeroes] = writing(noHole | fastZero, ANY_LENGTH, Errno.noSpace);
rules[Command.blockStatus] = reading(requestOne, ANY_LENGTH);

export interface NbdRequest {
  readonly command: number;
  readonly flags: number;
  /** Exact below 2^53, else rounded: such an offset is beyond every volume. */
  readonly offset: number;
  readonly lengthBytes: number;
  /** The client's name for the request, repeated in the reply. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

export interface RequestBounds {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

/** The error number for a request that must be refused, or 0. */
export function requestErrno(request: NbdRequest, bounds: RequestBounds): number {
  const { command, flags, offset, lengthBytes } = request;
  const rule = rules[command];
  if (rule === undefined || (flags & ~rule.flags) !== 0) return Errno.invalid;
  if (rule.writes && bounds.readOnly) return Errno.notPermitted;
  if (lengthBytes > rule.lengthBytesMax) return Errno.invalid;
  if (command === Command.flush) return offset === 0 ? Errno.none : Errno.invalid;
  if (offset % BLOCK_BYTES_MIN !== 0 || lengthBytes % BLOCK_BYTES_MIN !== 0) return Errno.invalid;
  if (offset + lengthBytes > bounds.sizeBytes) return rule.beyondEnd;
  return Errno.none;
}

const FAULT_ERRNO: Readonly<Record<IoFault, number>> = {
  "io-error": Errno.inputOutput,
  "no-space": Errno.noSpace,
  "not-owner": Errno.inputOutput,
  unreachable: Errno.inputOutput,
  "shutting-down": Errno.shutdown,
};

export function faultErrno(fault: IoFault): number {
  return FAULT_ERRNO[fault];
}
