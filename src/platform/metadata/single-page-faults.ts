/**
 * Lets each fault of a mapped file take one page. Otherwise the kernel maps sixteen around it, or
 * two mebibytes where the file's cache has them in one piece: of little use where the next look-up
 * is as likely anywhere else, and all of it counts as memory of the process.
 *
 * There is no call for that. But a mapping whose writes are followed (userfaultfd, in the kind in
 * which the kernel notes them by itself) is faulted page by page, and since nothing is ever asked
 * for here, nothing else changes. From Linux 6.7 on; without it, or where a container's rules
 * forbid the call, faults stay as they are.
 */
import { closeDescriptor, nativeFunction } from "../sys.ts";

const CALL_NUMBERS: Readonly<Record<string, number>> = { x64: 323, arm64: 282 };
const CLOEXEC_NONBLOCK_USER_MODE_ONLY = 0o2004001;
const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const API_VERSION = 0xaan;
const FEATURE_WP_ASYNC = 1n << 15n;
const MODE_WP = 2n;
const MADV_NOHUGEPAGE = 15;

const nativeSyscall: (number: number, type: string, flags: number) => number | bigint =
  nativeFunction("syscall", "long", ["long", "..."]);
const nativeIoctl: (fd: number, request: number, argument: Uint8Array) => number = nativeFunction(
  "ioctl",
  "int",
  ["int", "ulong", "void *"],
);
const nativeMadvise: (address: number, lengthBytes: number, advice: number) => number =
  nativeFunction("madvise", "int", ["uint64_t", "size_t", "int"]);

/** Holds for as long as the mapping is there. Undefined if the kernel does not know it. */
export class SinglePageFaults {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static of(address: number, lengthBytes: number): SinglePageFaults | undefined {
    const number = CALL_NUMBERS[process.arch];
    if (process.platform !== "linux" || number === undefined) return undefined;
    const fd = Number(nativeSyscall(number, "int", CLOEXEC_NONBLOCK_USER_MODE_ONLY));
    if (fd < 0) return undefined;
    const isSo =
      isAnswered(fd, UFFDIO_API, [API_VERSION, FEATURE_WP_ASYNC, 0n]) &&
      isAnswered(fd, UFFDIO_REGISTER, [BigInt(address), BigInt(lengthBytes), MODE_WP, 0n]);
    if (isSo) {
      nativeMadvise(address, lengthBytes, MADV_NOHUGEPAGE);
      return new SinglePageFaults(fd);
    }
    closeDescriptor(fd);
    return undefined;
  }

  /** As it was opened: of a descriptor that it did not open Node warns in threads. */
  close(): void {
    closeDescriptor(this.#fd);
  }
}

function isAnswered(fd: number, request: number, fields: readonly bigint[]): boolean {
  return nativeIoctl(fd, request, new Uint8Array(BigUint64Array.from(fields).buffer)) === 0;
}
