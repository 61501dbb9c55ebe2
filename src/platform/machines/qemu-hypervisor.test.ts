import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { CodedError } from "../../base/index.ts";
import type { VmStart } from "../../ports/index.ts";
import { test } from "../../../test/support/test.ts";
import { isSameProcess } from "../process-identity.ts";
import type { ProcessIdentity } from "../process-identity.ts";
import { QemuHypervisor } from "./qemu-hypervisor.ts";

/** As QEMU does, it answers one connection at a time; it notes down how many came. */
const FAKE = `#!${process.execPath}
const net = require("node:net");
const fs = require("node:fs");
if (process.argv[3] === "help") process.exit(0);
const socket = process.argv[process.argv.indexOf("-qmp") + 1].split(",")[0].slice("unix:".length);
let count = 0;
let last = Promise.resolve();
net.createServer((connection) => {
  fs.writeFileSync(process.argv[1] + ".connections", String(++count));
  connection.on("error", () => {});
  const before = last;
  last = new Promise((resolve) => connection.once("close", resolve));
  connection.pause();
  before.then(() => {
    connection.write('{"QMP":{}}\\n');
    const answer = '{"return":{"status":"running"}}\\n';
    connection.on("data", (commands) => {
      const count = commands.toString().split("\\n").length - 1;
      setTimeout(() => connection.write(answer.repeat(count)), 20);
    });
    connection.resume();
  });
}).listen(socket);
`;

/** Says how it is only once every machine was asked for that since it was started. */
const TOGETHER = `#!${process.execPath}
const net = require("node:net");
const fs = require("node:fs");
if (process.argv[3] === "help") process.exit(0);
const name = process.argv[process.argv.indexOf("-name") + 1];
const socket = process.argv[process.argv.indexOf("-qmp") + 1].split(",")[0].slice("unix:".length);
const asked = (who) => process.argv[1] + ".asked-" + who;
let count = 0;
net.createServer((connection) => {
  connection.on("error", () => {});
  connection.write('{"QMP":{}}\\n');
  const answer = (status) => connection.write(JSON.stringify({ return: { status } }) + "\\n");
  connection.on("data", (commands) => {
    for (const line of commands.toString().split("\\n").slice(0, -1)) {
      if (!line.includes("query-status") || count++ === 0) {
        answer("running");
        continue;
      }
      fs.writeFileSync(asked(name), "");
      const look = setInterval(() => {
        if (!fs.existsSync(asked("a")) || !fs.existsSync(asked("b"))) return;
        clearInterval(look);
        answer("paused");
      }, 5);
    }
  });
}).listen(socket);
`;

/** Its guest shuts down as soon as it is asked how it is. */
const ENDING = `#!${process.execPath}
const net = require("node:net");
if (process.argv[3] === "help") process.exit(0);
const socket = process.argv[process.argv.indexOf("-qmp") + 1].split(",")[0].slice("unix:".length);
net.createServer((connection) => {
  connection.on("error", () => {});
  connection.write('{"QMP":{}}\\n');
  connection.on("data", (commands) => {
    for (const line of commands.toString().split("\\n").slice(0, -1)) {
      if (line.includes("query-status"))
        connection.write('{"event":"SHUTDOWN","data":{"guest":true}}\\n');
      connection.write('{"return":{"status":"shutdown"}}\\n');
    }
  });
}).listen(socket);
`;

/** Says once how it is, and then only if it is "a". */
const STUCK = `#!${process.execPath}
const net = require("node:net");
const fs = require("node:fs");
if (process.argv[3] === "help") process.exit(0);
const name = process.argv[process.argv.indexOf("-name") + 1];
const socket = process.argv[process.argv.indexOf("-qmp") + 1].split(",")[0].slice("unix:".length);
let count = 0;
net.createServer((connection) => {
  connection.on("error", () => {});
  connection.write('{"QMP":{}}\\n');
  connection.on("data", (commands) => {
    for (const line of commands.toString().split("\\n").slice(0, -1)) {
      const isLook = line.includes("query-status") && count++ > 0;
      if (isLook) fs.appendFileSync(process.argv[1] + ".asked-" + name, "x");
      if (name === "a" && isLook) connection.write('{"return":{"status":"paused"}}\\n');
      else if (!isLook) connection.write('{"return":{"status":"running"}}\\n');
    }
  });
}).listen(socket);
`;

const MACHINE: VmStart = {
  ...{ vmId: "a", name: "a", epoch: 1, cpuCount: 1, memoryBytes: 32 << 20 },
  ...{ disks: [], networks: [], hasWatchdog: false, hasAgent: false, firmwarePath: undefined },
  boot: { kind: "disk" },
};

test("who asks for a machine's state while it starts shares the one connection that QEMU serves", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  fs.writeFileSync(program, FAKE, { mode: 0o755 });
  const vms = path.join(folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program });
  // A control socket keeps no process alive.
  const awake = setInterval(() => {}, 1000);
  try {
    hypervisor.allow(600_000);
    const progress = { isOver: false };
    const started = hypervisor.start(MACHINE).finally(() => (progress.isOver = true));
    while (!progress.isOver) {
      await Promise.all([hypervisor.list(), hypervisor.list()]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await started;
    assert.equal((await hypervisor.list())[0]?.state, "running");
    assert.equal(fs.readFileSync(`${program}.connections`, "utf8"), "1");
  } finally {
    clearInterval(awake);
    await hypervisor.kill("a");
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("a machine that is slow to say how it is holds up no question to another one", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  fs.writeFileSync(program, TOGETHER, { mode: 0o755 });
  const vms = path.join(folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program });
  const awake = setInterval(() => {}, 1000);
  try {
    hypervisor.allow(600_000);
    for (const name of ["a", "b"]) await hypervisor.start({ ...MACHINE, vmId: name, name });
    const states = (await hypervisor.list()).map(({ vmId, state }) => `${vmId} ${state}`);
    assert.deepEqual(states, ["a paused", "b paused"]);
  } finally {
    clearInterval(awake);
    for (const name of ["a", "b"]) await hypervisor.kill(name);
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("a QEMU that is stuck is told of once, is asked no second time, and holds up no other one", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  fs.writeFileSync(program, STUCK, { mode: 0o755 });
  const troubles: string[] = [];
  const hypervisor = new QemuHypervisor({
    ...{ folder: path.join(folder, "vms"), accelerator: "tcg", program },
    onTrouble: (vmId, what) => void troubles.push(`${vmId} ${what}`),
  });
  const awake = setInterval(() => {}, 1000);
  try {
    hypervisor.allow(600_000);
    for (const name of ["a", "b"]) await hypervisor.start({ ...MACHINE, vmId: name, name });
    for (let i = 0; i < 3; i++) {
      const states = (await hypervisor.list()).map(({ vmId, state }) => `${vmId} ${state}`);
      assert.deepEqual(states, ["a paused", "b running"]);
    }
    assert.deepEqual(troubles, ["b runs, and its QEMU does not say how it is"]);
    assert.equal(fs.readFileSync(`${program}.asked-a`, "utf8"), "xxx");
    assert.equal(fs.readFileSync(`${program}.asked-b`, "utf8"), "x");
  } finally {
    clearInterval(awake);
    for (const name of ["a", "b"]) await hypervisor.kill(name);
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("a machine's damaged file concerns it alone, and its process is found without it", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  fs.writeFileSync(program, FAKE, { mode: 0o755 });
  const vms = path.join(folder, "vms");
  const troubles: string[] = [];
  const onTrouble = (vmId: string): void => void troubles.push(vmId);
  const open = (): QemuHypervisor =>
    new QemuHypervisor({ folder: vms, accelerator: "tcg", program, onTrouble });
  const awake = setInterval(() => {}, 1000);
  let hypervisor = open();
  const names = ["a", "b", "c"];
  const file = (name: string): string => path.join(vms, name, "vm.json");
  try {
    hypervisor.allow(600_000);
    for (const name of ["a", "b"]) await hypervisor.start({ ...MACHINE, vmId: name, name });
    await hypervisor.close();
    const lost = JSON.parse(fs.readFileSync(file("b"), "utf8")) as ProcessIdentity;
    fs.writeFileSync(file("b"), "");
    fs.mkdirSync(path.join(vms, "c"));
    fs.writeFileSync(file("c"), '{"vmId":"c","epo');
    fs.writeFileSync(path.join(vms, "lost+found"), "");
    hypervisor = open();
    for (let i = 0; i < 2; i++)
      assert.deepEqual(await hypervisor.list(), [
        { vmId: "a", epoch: 1, state: "running" },
        { vmId: "b", epoch: 0, state: "running" },
      ]);
    assert.deepEqual(troubles.toSorted(), ["b", "c"]);
    await hypervisor.kill("b");
    assert.ok(!isSameProcess(lost), "its process has ended");
    await hypervisor.start({ ...MACHINE, vmId: "c", name: "c" });
    const left = (await hypervisor.list()).map(({ vmId, epoch }) => `${vmId} ${epoch}`);
    assert.deepEqual(left, ["a 1", "c 1"]);
  } finally {
    clearInterval(awake);
    for (const name of names) await hypervisor.kill(name);
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("what QEMU says is cut as the console is, and begins anew with each start", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  const says = 'require("node:fs").writeSync(1, "x".repeat(9 << 20) + "end");';
  fs.writeFileSync(program, FAKE.replace("let count = 0;", `${says}\nlet count = 0;`));
  fs.chmodSync(program, 0o755);
  const vms = path.join(folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program });
  const awake = setInterval(() => {}, 1000);
  const log = path.join(vms, "a", "qemu.log");
  try {
    hypervisor.allow(600_000);
    for (let i = 0; i < 2; i++) {
      await hypervisor.start(MACHINE);
      assert.equal(fs.statSync(log).size, (9 << 20) + 3, "this start alone is in it");
      await hypervisor.list();
      const kept = fs.readFileSync(log, "utf8");
      assert.equal(kept.length, 4 << 20);
      assert.ok(kept.endsWith("xend"));
    }
  } finally {
    clearInterval(awake);
    await hypervisor.kill("a");
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("what a machine boots from is judged where it starts, and a refused one is not started", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  const asked: string[] = [];
  const bootFile = (file: string): string => {
    asked.push(file);
    if (file === "/secret") throw new CodedError({ code: "boot-file-refused", message: file });
    return `/real${file}`;
  };
  const vms = path.join(folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program, bootFile });
  try {
    const kernel = { kind: "kernel", kernelPath: "/kernel", commandLine: "" } as const;
    const boots = [
      { boot: { ...kernel, initrdPath: "/secret" } },
      { boot: { ...kernel, kernelPath: "/secret", initrdPath: undefined } },
      { firmwarePath: "/secret" },
    ];
    for (const boot of boots) {
      const refused = { code: "boot-file-refused" };
      await assert.rejects(hypervisor.start({ ...MACHINE, ...boot }), refused);
      await assert.rejects(hypervisor.receive({ ...MACHINE, ...boot }, 1), refused);
    }
    assert.ok(asked.includes("/kernel"));
    assert.deepEqual(await hypervisor.list(), []);
    assert.ok(!fs.existsSync(path.join(vms, "a")), "nothing is made for it");
  } finally {
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test("a shutdown that cannot be written down ends no host, and is seen all the same", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-hypervisor-"));
  const program = path.join(folder, "qemu");
  fs.writeFileSync(program, ENDING, { mode: 0o755 });
  const vms = path.join(folder, "vms");
  const lost: string[] = [];
  const onTrouble = (vmId: string, what: string): void => void lost.push(`${vmId} ${what}`);
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program, onTrouble });
  const awake = setInterval(() => {}, 1000);
  try {
    hypervisor.allow(600_000);
    const started = hypervisor.start(MACHINE);
    // Nobody can write a file where a folder is, as nobody can on a full disk.
    fs.mkdirSync(path.join(vms, "a", "ended"), { recursive: true });
    await started;
    assert.equal((await hypervisor.list())[0]?.state, "ended");
    assert.match(lost[0] ?? "", /^a has shut down, which is not noted: EISDIR/);
  } finally {
    clearInterval(awake);
    fs.rmSync(path.join(vms, "a", "ended"), { recursive: true });
    await hypervisor.kill("a");
    await hypervisor.close();
    fs.rmSync(folder, { recursive: true });
  }
});
