/** Who may do what over the API, and what is made of input that means harm. */
import assert from "node:assert/strict";
import * as http from "node:http";
import { execFile } from "node:child_process";
import * as https from "node:https";
import * as net from "node:net";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { operationNames, operationRow } from "../../src/host/index.ts";
import type { AccessCreatedView, AuditList, CertificateView } from "../../src/host/index.ts";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { CLUSTER_PORTS, freePort, startHost, temporaryFolder } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";

const HALF_OPEN = 10_000;
const ANSWER_MS_MAX = 2000;
const ROLES = ["viewer", "operator", "admin"] as const;

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
}

interface AskOptions {
  readonly method?: string;
  readonly token?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function ask(url: string, options: AskOptions = {}): Promise<Answer> {
  const { method = "GET", token, body } = options;
  const shown = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const headers = { ...shown, ...options.headers };
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        const isJson = String(response.headers["content-type"]).startsWith("application/json");
        const value = isJson ? (JSON.parse(text) as { error?: { code: string } }) : {};
        resolve({ status: response.statusCode ?? 0, code: value.error?.code });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

function tokenOf(host: DevHost, role: string, ...more: string[]): Promise<AccessCreatedView> {
  return host.cli<AccessCreatedView>(["access", "create", `a ${role}`, "--role", role, ...more]);
}

test("each operation is for the roles that the table names, and changes are audited", async (t) => {
  const host = await startHost(t, "1G");
  for (const [index, role] of ROLES.entries()) {
    const { token } = await tokenOf(host, role);
    for (const name of operationNames) {
      const row = operationRow(name);
      // A name that nothing has: who is let in is told so, and nothing happens.
      const path = row.path.replace(/:\w+/g, "nobody");
      const isAllowed = ROLES.indexOf(row.role) <= index;
      const options = { method: row.method, token, ...(row.method === "POST" && { body: "{" }) };
      const { status, code } = await ask(`${host.api}${path}`, options);
      const what = `${name} as ${role}: ${status} ${code}`;
      if (isAllowed) assert.ok(status !== 401 && status !== 403, what);
      else assert.deepEqual([status, code], [403, "role-too-low"], what);
    }
  }
  const { token, id } = await tokenOf(host, "operator");
  const body = JSON.stringify({ name: "v1", sizeBytes: 1 << 20 });
  assert.equal((await ask(`${host.api}/v1/volumes`, { method: "POST", token, body })).status, 200);
  const { entries } = await host.cli<AuditList>(["audit", "list"]);
  const last = entries.at(-1);
  assert.deepEqual(
    [last?.who, last?.operation, last?.target, last?.outcome],
    [`token a operator (${id})`, "volume.create", "v1", "done"],
  );
  assert.ok(
    entries.some(({ outcome }) => outcome === "role-too-low"),
    "refusals are in it",
  );
  assert.ok(!JSON.stringify(entries).includes(token), "secrets are not");
});

test("scopes, wrong tokens and tokens that were taken back", async (t) => {
  const host = await startHost(t, "1G");
  const { token, id } = await tokenOf(host, "viewer", "--scope", "metrics");
  const status = async (path: string, shown: string): Promise<unknown> => {
    const { status: answered, code } = await ask(`${host.api}${path}`, { token: shown });
    return code ?? answered;
  };
  assert.equal(await status("/metrics", token), 200);
  for (const path of ["/v1/status", "/v1/volumes", "/healthz", "/openapi.json"])
    assert.equal(await status(path, token), "scope-missing", path);
  assert.equal(await status("/v1/status", `${token}x`), "access-denied");
  const basic = { headers: { authorization: "Basic YTpi" } };
  assert.equal((await ask(`${host.api}/v1/status`, basic)).code, "access-denied");
  await host.cli(["access", "revoke", id]);
  assert.equal(await status("/metrics", token), "access-denied");
  for (let attempt = 0; attempt < 20; attempt++) await status("/metrics", "guess");
  assert.equal(await status("/metrics", "guess"), "too-many-attempts");
  assert.equal((await ask(`${host.api}/v1/status`)).status, 200, "others are not kept out");
});

/** What comes back for bytes as they are, by the end of the connection. */
function raw(api: string, text: string): Promise<string> {
  const { hostname, port } = new URL(api);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname, () => socket.write(text));
    let said = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => (said += chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(said));
  });
}

test("bodies, types, and requests with two ends are refused, and the host goes on", async (t) => {
  const { api } = await startHost(t, "1G");
  const post = (body: string, type?: string): Promise<Answer> =>
    ask(`${api}/v1/volumes`, {
      method: "POST",
      body,
      ...(type === undefined ? {} : { headers: { "content-type": type } }),
    });
  const cases: readonly (readonly [string, Answer])[] = [
    ["content-type-unknown", await post("name=a", "application/x-www-form-urlencoded")],
    ["content-type-unknown", await post("{}", "text/plain")],
    ["request-invalid", await post("{", "application/json; charset=utf-8")],
    ["request-invalid", await post("[1]")],
    ["request-invalid", await post('{"__proto__": {"name": "a"}, "sizeBytes": 1}')],
    ["request-too-large", await post(`"${"x".repeat(70_000)}"`)],
    ["request-invalid", await post("[".repeat(60_000))],
  ];
  for (const [code, answer] of cases) assert.equal(answer.code, code);
  const line = `POST /v1/volumes HTTP/1.1\r\nhost: ${new URL(api).host}\r\n`;
  const smuggled = "0\r\n\r\nGET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n";
  for (const headers of [
    "content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "content-length: 5\r\ncontent-length: 6\r\n",
    "transfer-encoding: chunked, identity\r\n",
    "transfer-encoding : chunked\r\n",
    "content-length: +5\r\n",
    "x: a\rb: c\r\n",
  ]) {
    const said = await raw(api, `${line}connection: close\r\n${headers}\r\n${smuggled}`);
    assert.match(said, /^HTTP\/1\.1 400 /, headers);
    assert.equal(said.match(/HTTP\/1\.1 /g)?.length, 1, `answered twice: ${headers}`);
  }
  const long = `GET /${"a".repeat(100_000)} HTTP/1.1\r\nhost: a\r\n\r\n`;
  assert.match(await raw(api, long), /^HTTP\/1\.1 431 /);
  assert.equal((await ask(`${api}/v1/status`)).status, 200);
});

/** Without a certificate, over TLS. */
function askTls(
  port: number,
  path: string,
  token?: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const headers = token === undefined ? more : { authorization: `Bearer ${token}`, ...more };
  const where = { host: "127.0.0.1", port, path, headers, agent: false };
  return new Promise((resolve, reject) => {
    const request = https.get({ ...where, rejectUnauthorized: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => (text += piece.toString()));
      response.on("end", () => {
        const code = /"code":"([a-z-]+)"/.exec(text)?.[1];
        resolve({ status: response.statusCode ?? 0, code });
      });
    });
    request.on("error", reject);
  });
}

test("over TLS a token stands in for a certificate, for people and their browsers", async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  await cluster.init("h1");
  await cluster.start("h1");
  const port = cluster.portOf("h1");
  for (const path of ["/v1/status", "/metrics", "/healthz", "/readyz", "/openapi.json"])
    assert.equal((await askTls(port, path)).code, "certificate-required", path);
  assert.equal((await askTls(port, "/")).status, 200, "the page asks for a token");
  const { token } = await cluster.cli<AccessCreatedView>("h1", [
    ...["access", "create", "anna", "--role", "viewer"],
  ]);
  assert.equal((await askTls(port, "/v1/status", token)).status, 200);
  assert.equal((await askTls(port, "/v1/access", token)).code, "role-too-low");
  // Behind another name of the host or a proxy's, but not from a page of another one.
  const named = { host: "storage.example", origin: "https://storage.example" };
  assert.equal((await askTls(port, "/v1/status", token, named)).status, 200);
  const elsewhere = { ...named, origin: "https://elsewhere.example" };
  assert.equal((await askTls(port, "/v1/status", token, elsewhere)).code, "origin-refused");
  const cli = path.join(fileURLToPath(new URL("../../../bin/drystone", import.meta.url)));
  const environment = { DRYSTONE_TOKEN: token, DRYSTONE_CA: `${cluster.tlsOf("h1")}/ca.crt` };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [cli, "status", "--json", "--api", `https://127.0.0.1:${port}`],
    { env: { ...process.env, ...environment, DRYSTONE_TLS: "/nowhere" } },
  );
  assert.equal((JSON.parse(stdout) as { health: string }).health, "healthy");
});

const TOKEN_PAGE = "a token is asked for, and a viewer sees everything and changes nothing";

test(TOKEN_PAGE, { skip: browserMissing }, async (t) => {
  const cluster = new JoinedCluster(t, temporaryFolder(t), await freePort(CLUSTER_PORTS));
  await cluster.init("h1");
  await cluster.start("h1");
  const { token } = await cluster.cli<AccessCreatedView>("h1", [
    ...["access", "create", "anna", "--role", "viewer"],
  ]);
  const origin = `https://127.0.0.1:${cluster.portOf("h1")}`;
  const options = { ignoreHTTPSErrors: true };
  const watched = await WatchedPage.open(await startBrowser(t), origin, options);
  const { page } = watched;
  await page.getByRole("textbox", { name: "Token" }).fill("drystone-access-guess");
  await page.getByRole("button", { name: "Show it" }).click();
  await page.getByText("the token that was shown is none of this cluster's").waitFor();
  await watched.checkAccess("the page that asks for a token");
  await watched.takePicture("token");
  await page.getByRole("textbox", { name: "Token" }).fill(token);
  await page.keyboard.press("Enter");
  await page.getByText("Everything is all right.").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await watched.show("volumes");
  await page.getByRole("button", { name: "Create a volume" }).click();
  await page.getByLabel("Name").fill("web1");
  await page.keyboard.press("Enter");
  await page
    .getByRole("alert")
    .getByText(/is for the role operator/)
    .waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Forget the token" }).click();
  await page.getByRole("textbox", { name: "Token" }).waitFor();
  await administer(watched, cluster);
  watched.checkFaults();
});

/** Whoever is an admin lets a host in, and has the certificate renewed. */
async function administer(watched: WatchedPage, cluster: JoinedCluster): Promise<void> {
  const { page } = watched;
  const admin = await cluster.cli<AccessCreatedView>("h1", [
    ...["access", "create", "otto", "--role", "admin"],
  ]);
  await page.getByRole("textbox", { name: "Token" }).fill(admin.token);
  await page.keyboard.press("Enter");
  await page.getByText("Live", { exact: true }).waitFor();
  await watched.show("access");
  await page.getByRole("button", { name: "Make a token to join with" }).click();
  const line = page.locator("code", { hasText: "drystone join" });
  assert.match((await line.textContent()) ?? "", /--token drystone-\S+ --device PATH$/);
  await page.getByRole("button", { name: "Copy: drystone join" }).click();
  await watched.checkAccess("a token to join with");
  await watched.show("settings");
  const { endsMs } = await cluster.cli<CertificateView>("h1", ["certificate", "show"]);
  await page.getByRole("button", { name: "Renew now" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Renew" }).click();
  await page.getByText("The certificate is renewed.").waitFor();
  const renewed = await cluster.cli<CertificateView>("h1", ["certificate", "show"]);
  assert.ok(renewed.endsMs > endsMs, "it is good for longer");
}

test(`${HALF_OPEN} connections that never finish a request keep nobody out`, async (t) => {
  const { api } = await startHost(t, "1G");
  const { hostname, port } = new URL(api);
  const sockets: net.Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  let slowestMs = 0;
  for (let count = 0; count < HALF_OPEN; count += 100) {
    const opened = Array.from({ length: 100 }, () => {
      const socket = net.connect(Number(port), hostname);
      socket.on("error", () => undefined);
      socket.write("GET /v1/status HTTP/1.1\r\nhost: 127");
      sockets.push(socket);
      return new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
    });
    await Promise.all(opened);
    const from = performance.now();
    assert.equal((await ask(`${api}/readyz`)).status, 200);
    slowestMs = Math.max(slowestMs, performance.now() - from);
  }
  t.diagnostic(`the slowest answer took ${slowestMs.toFixed(0)} ms`);
  assert.ok(slowestMs < ANSWER_MS_MAX, `${slowestMs} ms`);
});
