import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { operationNames, operationRow, processCommands } from "../host/index.ts";
import { parseCommandLine } from "./command-line.ts";
import type { Invocation } from "./command-line.ts";
import { helpText } from "./help.ts";

const parse = (line: string): Invocation =>
  parseCommandLine(
    line.split(" ").filter((word) => word !== ""),
    "/home/me",
  );

function refusal(line: string): { message: string; hint: string } {
  try {
    parse(line);
  } catch (error) {
    assert.ok(error instanceof CodedError && error.code === "usage", line);
    return { message: error.message, hint: error.fault.hint ?? "" };
  }
  throw new Error(`was not refused: ${line}`);
}

function request(line: string): unknown {
  const invocation = parse(line);
  assert.ok(invocation.kind === "operation" || invocation.kind === "process", line);
  return invocation.request;
}

test("a command that changes what its options name is refused without any", () => {
  const { message, hint } = refusal("settings change");
  assert.match(message, /^drystone settings change needs one of --repair-delay, --rebuilds/);
  assert.equal(hint, "For example: drystone settings change --repair-delay 1800");
  for (const line of ["ha set", "volume set web1", "vm set web1"])
    assert.match(refusal(line).message, / needs one of --/, line);
  assert.deepEqual(request("ha set --tolerate 0"), { toleratedHosts: 0 });
});

test("every example of every command is understood", () => {
  const commands = [...operationNames.map(operationRow), ...Object.values(processCommands)];
  for (const { examples } of commands) {
    for (const { line } of examples) {
      const { kind } = parse(line.replace(/^drystone /, ""));
      assert.ok(kind === "operation" || kind === "process", line);
    }
  }
});

test("positionals and options become the request", () => {
  assert.deepEqual(request("volume create web1 --size 10G --stripes 1"), {
    name: "web1",
    sizeBytes: 10 * 2 ** 30,
    stripes: 1,
  });
  assert.deepEqual(request("volume create --size=512 web1"), { name: "web1", sizeBytes: 512 });
  assert.deepEqual(request("events --follow --after 7"), { follow: true, after: 7 });
  assert.deepEqual(request("volume create a --size 1 --size 2"), { name: "a", sizeBytes: 2 });
  assert.deepEqual(request("status"), {});
});

test("an option that is needed is asked for by its name, with an example", () => {
  const { message, hint } = refusal("volume create web1");
  assert.equal(message, "drystone volume create needs --size SIZE");
  assert.match(hint, /drystone volume create web1 --size 10G/);
});

test("options of every command may stand anywhere", () => {
  for (const line of [
    "--json status --api http://a:1",
    "--api http://a:1 status --json",
    "status --json --api=http://a:1",
  ]) {
    const invocation = parse(line);
    assert.equal(invocation.kind, "operation");
    assert.deepEqual(invocation.global, { json: true, help: false, yes: false, api: "http://a:1" });
  }
});

test("relative socket paths count from where the user stands", () => {
  assert.deepEqual(request("volume attach web1 --nbd a.sock"), {
    name: "web1",
    nbd: "/home/me/a.sock",
  });
  assert.deepEqual(request("volume attach web1 --nbd unix:/run/a.sock"), {
    name: "web1",
    nbd: "/run/a.sock",
  });
  assert.deepEqual(request("volume attach web1 --nbd 127.0.0.1:10809"), {
    name: "web1",
    nbd: "127.0.0.1:10809",
  });
  assert.deepEqual(request("host run --config host.json --wipe b --wipe c"), {
    config: "/home/me/host.json",
    wipe: ["/home/me/b", "/home/me/c"],
  });
});

test("mistakes are answered with what was probably meant", () => {
  assert.match(refusal("volme list").hint, /drystone volume list/);
  assert.match(refusal("volume lst").hint, /drystone volume list/);
  assert.match(refusal("statsu").hint, /drystone (status|stats)/);
  assert.match(refusal("volume create a --sixe 1G").hint, /--size/);
  assert.match(refusal("frobnicate").hint, /--help/);
  assert.match(
    refusal("host maintenance offf h1").hint,
    /^Did you mean: drystone host maintenance off$/,
  );
  assert.equal(
    refusal("host maintenance sideways h1").hint,
    "drystone host maintenance has: on, off",
  );
});

test("what is missing, too much or of the wrong kind is refused", () => {
  assert.match(refusal("volume create").message, /needs NAME/);
  assert.match(refusal("volume list extra").message, /does not take "extra"/);
  assert.match(refusal("volume create a --size ten").message, /takes a size/);
  assert.match(refusal("volume create a --size").message, /needs a value/);
  assert.match(refusal("events --follow=yes").message, /takes no value/);
  assert.match(refusal("events --limit many").message, /whole number/);
  assert.match(refusal("volume").message, /needs one more word/);
  assert.equal(
    refusal("host maintenance").message,
    "drystone host maintenance needs one more word",
  );
  assert.match(refusal("host run").message, /needs --config FILE$/);
  assert.match(
    refusal("join 10.0.0.1 --address 10.0.0.2 --device d").message,
    /needs --token TOKEN/,
  );
  assert.match(refusal("status --api").message, /--api needs a value/);
  assert.match(refusal("--nonsense").message, /no option --nonsense/);
});

test("help is given for everything, a group and one command", () => {
  assert.deepEqual(parse(""), { kind: "help", words: [], global: parse("").global });
  for (const line of ["--help", "help", "-h"]) assert.equal(parse(line).kind, "help", line);
  const words = (line: string): readonly string[] => {
    const invocation = parse(line);
    assert.ok(invocation.kind === "help", line);
    return invocation.words;
  };
  assert.deepEqual(words("volume --help"), ["volume"]);
  assert.deepEqual(words("help volume create"), ["volume", "create"]);
  assert.deepEqual(words("volume create --help"), ["volume", "create"]);
  assert.deepEqual(words("help host maintenance"), ["host", "maintenance"]);
  assert.match(helpText(["host", "maintenance"]), /Commands of drystone host maintenance\n/);
  assert.match(
    helpText(["access", "create"]),
    /Usage: drystone access create NAME --role ROLE \[OPTIONS\]\n/,
  );
  assert.match(helpText(["volume", "resize"]), /Usage: drystone volume resize NAME --size SIZE\n/);
  assert.match(helpText(["status"]), /Usage: drystone status\n/);
});
