/** The Debian package: built, unpacked, and used as an operator would. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { gunzipSync } from "node:zlib";
import { commandEntries } from "../../src/cli/index.ts";
import { buildDebianPackage } from "../../scripts/package/debian-package.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { HostRun } from "./host-run.ts";
import { JoinedCluster } from "./joined-cluster.ts";
import { Namespaces, namespacesMissing } from "./namespaces.ts";
import { Program, runTool } from "./process.ts";

const COMMANDS_MAX = 6;
const FIRST_VOLUME_MS_MAX = 180_000;
const READY_MS_MAX = 60_000;
const NOTIFIED_MS_MAX = 30_000;

/** Returns where it is unpacked. */
function unpack(t: TestContext): string {
  const folder = temporaryFolder(t);
  const file = buildDebianPackage(folder);
  const unpacked = path.join(folder, "unpacked");
  execFileSync("dpkg-deb", ["-R", file, unpacked]);
  t.diagnostic(`the package has ${(fs.statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
  return unpacked;
}

test("the Debian package", async (t) => {
  const root = unpack(t);
  const at = (file: string): string => path.join(root, file);

  await t.test("has what it needs and nothing for development", () => {
    const { version } = JSON.parse(
      execFileSync(at("usr/bin/drystone"), ["--version", "--json"], { encoding: "utf8" }),
    ) as { version: string };
    const control = fs.readFileSync(at("DEBIAN/control"), "utf8");
    assert.ok(control.includes(`Version: ${version}\n`), control);
    assert.match(control, /^Depends: nodejs \(>= 20\.19\), systemd/m);
    for (const unwanted of ["typescript", "playwright-core", "vite", "react"])
      assert.ok(!fs.existsSync(at(`usr/lib/drystone/node_modules/${unwanted}`)), unwanted);
    const files = fs.readdirSync(at("usr/lib/drystone/dist"), { recursive: true }).map(String);
    assert.deepEqual(
      files.filter((file) => /\.test\.js$|\.map$|\.d\.ts$/.test(file)),
      [],
    );
    for (const script of ["postinst", "prerm", "postrm"])
      execFileSync("sh", ["-n", at(`DEBIAN/${script}`)]);
  });

  await t.test("has a unit that systemd takes", async () => {
    const unit = fs.readFileSync(at("usr/lib/systemd/system/drystone.service"), "utf8");
    const copy = path.join(path.dirname(root), "drystone.service");
    fs.writeFileSync(copy, unit.replace("/usr/bin/drystone", at("usr/bin/drystone")));
    await runTool("systemd-analyze", ["verify", "--man=no", copy]);
    assert.match(unit, /^Type=notify$/m);
    assert.match(unit, /^WatchdogSec=\d+$/m);
  });

  await t.test("explains every command in manual pages without faults", async () => {
    const manual = gunzipSync(fs.readFileSync(at("usr/share/man/man1/drystone.1.gz"))).toString();
    for (const { command } of commandEntries) {
      const line = `.SS ${command.words.join(" ").replaceAll("-", "\\-")}\n`;
      assert.ok(manual.includes(line), line);
    }
    for (const page of ["man1/drystone.1.gz", "man5/drystone-host.json.5.gz"]) {
      const input = gunzipSync(fs.readFileSync(at(`usr/share/man/${page}`))).toString();
      const { stderr } = await runTool("groff", ["-man", "-ww", "-z"], { input });
      assert.equal(stderr, "", page);
    }
  });

  await t.test("brings three machines to a first mirrored volume", async (context) => {
    const missing = namespacesMissing();
    if (missing === undefined) await bringUpMachines(context, at("usr/bin/drystone"));
    else await bringUpHosts(context, at("usr/bin/drystone"));
  });

  await t.test("completes commands and names of objects", () => checkCompletion(root));
});

/** As an operator would on three new machines with two networks each, from the package on. */
async function bringUpMachines(t: TestContext, cli: string): Promise<void> {
  const machines = await Namespaces.create(3);
  t.after(() => machines.dispose());
  const folder = temporaryFolder(t);
  const from = performance.now();
  let commandCount = 0;
  const command = async (machine: number, ...line: readonly string[]): Promise<string> => {
    commandCount++;
    const whole = machines.command(machine, process.execPath, [cli, ...line, "--json"]);
    return (await runTool("ip", whole)).stdout;
  };
  const setUp = (machine: number): string[] => {
    const device = path.join(folder, `device${machine}`);
    fs.mkdirSync(device);
    return [
      // Namespaces have the name of the machine that they are on.
      ...["--name", `host${machine}`],
      ...["--address", machines.address(machine, "management")],
      ...["--storage-address", machines.address(machine, "storage")],
      ...["--device", device, "--dir", path.join(folder, `${machine}`)],
    ];
  };
  const api = ["--api", `unix:${path.join(folder, "1", "state", "api.sock")}`];
  // What systemd does on a machine where the package is installed.
  const start = async (machine: number): Promise<void> => {
    const line = [
      "host",
      "run",
      "--config",
      path.join(folder, `${machine}`, "host.json"),
      "--json",
    ];
    const whole = machines.command(machine, process.execPath, [cli, ...line]);
    const program = new Program(`machine ${machine}`, "ip", whole);
    t.after(() => program.kill());
    await program.waitForLine(/"ready"/, READY_MS_MAX);
  };
  await command(1, "init", ...setUp(1));
  await start(1);
  for (const machine of [2, 3]) {
    const made = JSON.parse(await command(1, "token", "create", ...api)) as { token: string };
    const to = `${machines.address(1, "management")}:7400`;
    await command(machine, "join", to, "--token", made.token, ...setUp(machine));
    await start(machine);
  }
  const size = ["--size", "1G", "--failures-to-tolerate", "1"];
  const volume = await command(1, "volume", "create", "web1", ...size, ...api);
  assert.match(volume, /"accessible":true/);
  checkEffort(t, commandCount, performance.now() - from);
}

/** Where machines cannot be made: on this one, each host with ports of its own. */
async function bringUpHosts(t: TestContext, cli: string): Promise<void> {
  const from = performance.now();
  const cluster = new JoinedCluster(t, temporaryFolder(t), await freePort(CLUSTER_PORTS), { cli });
  await cluster.init("h1");
  await cluster.start("h1");
  for (const host of ["h2", "h3"]) {
    await cluster.join(host, "h1", await cluster.token("h1"));
    await cluster.start(host);
  }
  const size = ["--size", "1G", "--failures-to-tolerate", "1"];
  await cluster.cli("h1", ["volume", "create", "web1", ...size]);
  checkEffort(t, cluster.commandCount, performance.now() - from);
}

function checkEffort(t: TestContext, commandCount: number, ms: number): void {
  t.diagnostic(`${commandCount} commands, ${(ms / 1000).toFixed(1)} s`);
  assert.ok(commandCount <= COMMANDS_MAX, `${commandCount} commands`);
  assert.ok(ms < FIRST_VOLUME_MS_MAX);
}

async function checkCompletion(root: string): Promise<void> {
  const folder = path.join(root, "fake");
  fs.mkdirSync(folder);
  const answer = '{"volumes":[{"name":"web1","size":1},{"name":"web2","size":1}]}';
  fs.writeFileSync(path.join(folder, "drystone"), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  const script = path.join(root, "usr/share/bash-completion/completions/drystone");
  const complete = async (line: string): Promise<string[]> => {
    const words = line.split(" ");
    const { stdout } = await runTool("bash", [
      "-c",
      `PATH="${folder}:$PATH"; source "${script}"; COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${words.length - 1}; _drystone; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ]);
    return stdout.split("\n").filter((word) => word !== "");
  };
  assert.ok((await complete("drystone vol")).includes("volume"));
  assert.deepEqual(await complete("drystone volume sh"), ["show"]);
  assert.deepEqual(await complete("drystone volume show "), ["web1", "web2"]);
  assert.deepEqual(await complete("drystone volume create --si"), ["--size"]);
}

/** What comes to a unix datagram socket, which Node has not. */
const LISTENER = `
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print("LISTENING", flush=True)
while True:
    print(listener.recv(4096).decode().replace("\\n", " "), flush=True)
`;

test("a service tells systemd when it is ready, lives and stops", async (t) => {
  const folder = temporaryFolder(t);
  const socket = path.join(folder, "notify");
  const listener = spawn("python3", ["-c", LISTENER, socket], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => listener.kill());
  let said = "";
  listener.stdout.setEncoding("utf8");
  listener.stdout.on("data", (text: string) => (said += text));
  const until = async (pattern: RegExp): Promise<void> => {
    const signal = AbortSignal.timeout(NOTIFIED_MS_MAX);
    while (!pattern.test(said)) {
      await once(listener.stdout, "data", { signal });
    }
  };
  await until(/LISTENING/);
  const device = path.join(folder, "device");
  fs.mkdirSync(device);
  const host = await HostRun.configure(t, folder, [device]);
  await host.start([], { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "300000" });
  await until(/READY=1 STATUS=healthy/);
  await until(/WATCHDOG=1\n(?:.*\n)*WATCHDOG=1/);
  await host.stop();
  await until(/STOPPING=1/);
});
