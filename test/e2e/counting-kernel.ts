/**
 * The smallest guest that shows whether anything is lost: it reads a number from the first sector
 * of its first disk, adds one, writes it, and prints it once it was written, about eight times a
 * second. Started as a kernel, it runs within a second and needs next to no memory or processor.
 */
import * as fs from "node:fs";
import * as path from "node:path";

const SECTOR_BYTES = 512;
/**
 * Its file: the boot sector that nobody runs, one of set-up code, and a kernel that is not there.
 */
const FILE_BYTES = 3 * SECTOR_BYTES;
const SETUP_AT = SECTOR_BYTES;

/** 16-bit code, behind a header as Linux has it. Addresses are from its beginning. */
const CODE: readonly number[] = [
  ...[0xfc, 0x8c, 0xc8, 0x8e, 0xd8, 0x8e, 0xc0], // cld; mov ax, cs; mov ds, ax; mov es, ax
  ...[0xa3, 0xda, 0x00, 0xfb], // mov [request+6], ax; sti
  // again:
  ...[0xb4, 0x42, 0xe8, 0x48, 0x00, 0x72, 0xf9], // mov ah, 0x42; call disk; jc again
  ...[0x66, 0xff, 0x06, 0x00, 0x10], // inc dword [0x1000]
  ...[0xb8, 0x00, 0x43, 0xe8, 0x3b, 0x00, 0x72, 0xec], // mov ax, 0x4300; call disk; jc again
  ...[0x66, 0xa1, 0x00, 0x10, 0xb9, 0x08, 0x00], // mov eax, [0x1000]; mov cx, 8
  // digit:
  ...[0x66, 0xc1, 0xc0, 0x04, 0x66, 0x50], // rol eax, 4; push eax
  ...[0x24, 0x0f, 0x04, 0x30, 0x3c, 0x3a, 0x72, 0x02], // and al, 15; add al, 48; cmp al, 58; jb put
  ...[0x04, 0x07, 0xe8, 0x27, 0x00], // add al, 7; put: call print
  ...[0x66, 0x58, 0xe2, 0xe9], // pop eax; loop digit
  ...[0xb0, 0x0a, 0xe8, 0x1e, 0x00], // mov al, 10; call print
  ...[0x1e, 0x31, 0xc0, 0x8e, 0xd8], // push ds; xor ax, ax; mov ds, ax
  ...[0x8b, 0x1e, 0x6c, 0x04, 0x83, 0xc3, 0x02], // mov bx, [0x46c]; add bx, 2
  ...[0xf4, 0x39, 0x1e, 0x6c, 0x04, 0x78, 0xf9], // wait: hlt; cmp [0x46c], bx; js wait
  ...[0x1f, 0xeb, 0xb3], // pop ds; jmp again
  // disk:
  ...[0xb2, 0x80, 0xbe, 0xd4, 0x00, 0xcd, 0x13, 0xc3], // mov dl, 0x80; mov si, request; int 0x13
  // print:
  ...[0x66, 0x50, 0xba, 0xfd, 0x03], // push eax; mov dx, 0x3fd
  ...[0xec, 0xa8, 0x20, 0x74, 0xfb], // busy: in al, dx; test al, 0x20; jz busy
  ...[0x66, 0x58, 0xba, 0xf8, 0x03, 0xee, 0xc3], // pop eax; mov dx, 0x3f8; out dx, al
];
/** In the code, the byte behind "add bx". */
const PAUSE_AT = CODE.findIndex((byte, i) => byte === 0x83 && CODE[i + 1] === 0xc3) + 2;
/** Where it waits for the next number, and what waits there for ever: cli; hlt, again and again. */
const WAIT_AT = CODE.findIndex((byte, i) => byte === 0xf4 && CODE[i + 1] === 0x39);
const HALT: readonly number[] = [0xfa, 0xf4, 0xeb, 0xfc];
const CODE_AT = 0x60;
/** One sector, at 0x1000 in memory, the first of the disk. */
const REQUEST: readonly number[] = [0x10, 0, 1, 0, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const REQUEST_AT = 0xd4;

/**
 * `ticks` of 55 ms, 127 at most, pass between two numbers. Emulated it takes a seventh of a core at
 * the pace it has otherwise, which is too much for many of them.
 */
export function writeCountingKernel(file: string, ticks = 2): void {
  const code = Uint8Array.from(CODE);
  code[PAUSE_AT] = ticks;
  writeKernel(file, code);
}

/** One that counts once for each time that it is started, and takes no processor from then on. */
export function writeHaltingKernel(file: string): void {
  const code = Uint8Array.from(CODE);
  code.set(HALT, WAIT_AT);
  writeKernel(file, code);
}

function writeKernel(file: string, code: Uint8Array): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const image = new Uint8Array(FILE_BYTES);
  const view = new DataView(image.buffer);
  image[0x1f1] = 1; // Sectors of set-up code.
  view.setUint16(0x1fe, 0xaa55, true);
  image.set([0xeb, CODE_AT - 2], SETUP_AT);
  image.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x0202, true);
  image[0x211] = 1; // The kernel is loaded high.
  image.set(code, SETUP_AT + CODE_AT);
  image.set(REQUEST, SETUP_AT + REQUEST_AT);
  fs.writeFileSync(file, image);
}

/** The numbers that it has printed there, oldest first; none if there is no such file. */
export function countersIn(serialLog: string): readonly number[] {
  if (!fs.existsSync(serialLog)) return [];
  const text = fs.readFileSync(serialLog, "utf8");
  return [...text.matchAll(/^([0-9A-F]{8})\r?$/gm)].map(([, hex]) => Number.parseInt(hex!, 16));
}
