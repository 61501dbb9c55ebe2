/**
 * Whether KVM is of use here. That /dev/kvm can be opened says little: inside another virtual
 * machine it may be there and so slow that no guest gets through its boot. So a machine is started
 * with it whose whole program is to end, which takes a tenth of a second where KVM works.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const PROBE_MS_MAX = 1500;
const EXIT_PORT = 0xf4;
/** The device makes the exit code of what is written to its port: twice that, plus one. */
const EXIT_VALUE = 0x10;
const SECTOR_BYTES = 512;

/** False if QEMU cannot be started, too. */
export async function isKvmOfUse(program: string): Promise<boolean> {
  if (!canOpenKvm()) return false;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-kvm-"));
  try {
    const sector = path.join(folder, "sector");
    fs.writeFileSync(sector, bootSector());
    return (await exitCode(program, sector)) === 2 * EXIT_VALUE + 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function canOpenKvm(): boolean {
  try {
    fs.accessSync("/dev/kvm", fs.constants.R_OK | fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** mov dx, EXIT_PORT; mov al, EXIT_VALUE; out dx, al; hlt */
function bootSector(): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set([0xba, EXIT_PORT, 0x00, 0xb0, EXIT_VALUE, 0xee, 0xf4]);
  sector.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return sector;
}

function exitCode(program: string, sector: string): Promise<number | undefined> {
  const file = sector.replaceAll(",", ",,");
  const child = spawn(
    program,
    [
      ...["-accel", "kvm", "-m", "16", "-nodefaults", "-display", "none", "-no-reboot"],
      ...["-drive", `file=${file},format=raw,if=ide,readonly=off`],
      ...["-device", `isa-debug-exit,iobase=${EXIT_PORT},iosize=4`],
    ],
    { stdio: "ignore" },
  );
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_MS_MAX);
    child.once("error", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      resolve(code ?? undefined);
    });
  });
}
