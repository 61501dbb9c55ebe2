/** A host that is asked as its /openapi.json says, which is held against each answer. */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import { pathOf, routes } from "../../src/host/api/api-routes.ts";
import type { OperationName } from "../../src/host/index.ts";

interface Described {
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, DescribedAnswer>>;
}

interface DescribedAnswer {
  readonly content: Content;
  /** Of refusals: what travels under this status. */
  readonly "x-drystone-codes"?: readonly string[];
}

type Content = Readonly<Record<string, { readonly schema: object }>>;

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}

export interface Call {
  readonly name: OperationName;
  readonly request?: object;
  /** Default: 200. */
  readonly status?: number;
}

/** From here on what travels under a status is not the operation's alone. */
const SERVER_FAULT_STATUS = 500;
/** A connection that is kept may end at the host just when it is used again. */
const ONCE = { connection: "close" };
const JSON_TYPE = { ...ONCE, "content-type": "application/json" };

export class DescribedApi {
  readonly #base: string;
  readonly #document: Document;
  readonly #ajv: Ajv2020;
  /** Codes that it has refused with. */
  readonly seen: Set<string> = new Set();

  private constructor(base: string, document: Document) {
    this.#base = base;
    this.#document = document;
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    this.#ajv.addSchema({ $id: "document", ...document });
  }

  static async open(base: string): Promise<DescribedApi> {
    const response = await fetch(`${base}/openapi.json`);
    assert.equal(response.status, 200);
    return new DescribedApi(base, (await response.json()) as Document);
  }

  get operationCount(): number {
    return Object.values(this.#document.paths).flatMap((path) =>
      Object.values(path).filter((one) => "operationId" in one),
    ).length;
  }

  async call(call: Call): Promise<unknown> {
    const { name, request = {}, status = 200 } = call;
    const { status: answered, answer } = await this.#ask(name, request, status === 400);
    assert.equal(answered, status, `${name}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Whatever comes of it. Returns the code of the refusal, if it is one. */
  async refusal(name: OperationName, request: object): Promise<string | undefined> {
    return codeOf((await this.#ask(name, request, true)).answer);
  }

  async #ask(
    name: OperationName,
    request: object,
    isInvalid: boolean,
  ): Promise<{ readonly status: number; readonly answer: unknown }> {
    const { method, path: pattern } = routes[name];
    const described = this.#document.paths[pattern.replace(/:(\w+)/g, "{$1}")];
    const operation = described?.[method.toLowerCase()];
    assert.ok(operation !== undefined, `${name} is not described`);
    const { path, rest } = pathOf(name, request);
    if (method === "POST" && !isInvalid) this.#check(name, operation.requestBody, rest);
    const query = method === "GET" ? `?${new URLSearchParams(rest as Record<string, string>)}` : "";
    const init =
      method === "POST" ? { headers: JSON_TYPE, body: JSON.stringify(rest) } : { headers: ONCE };
    const response = await fetch(`${this.#base}${path}${query}`, { method, ...init });
    const answer: unknown = await response.json();
    const { responses } = operation;
    const { status } = response;
    const expected = responses[String(status)] ?? responses["default"];
    this.#check(name, expected, answer);
    const code = codeOf(answer);
    if (code !== undefined) {
      this.seen.add(code);
      const isTold = expected?.["x-drystone-codes"]?.includes(code) === true;
      assert.ok(
        isTold || status >= SERVER_FAULT_STATUS,
        `${name} is not said to refuse with ${code}`,
      );
    }
    return { status, answer };
  }

  #check(name: string, described: { readonly content: Content } | undefined, value: unknown): void {
    const schema = described?.content["application/json"]?.schema;
    assert.ok(schema !== undefined, `${name} is not described`);
    const text = JSON.stringify(schema).replaceAll('"#/', '"document#/');
    const isValid = this.#ajv.validate(JSON.parse(text) as object, value);
    const message = `${name}: ${this.#ajv.errorsText()} in ${JSON.stringify(value)}`;
    assert.ok(isValid, message);
  }
}

function codeOf(answer: unknown): string | undefined {
  return (answer as { readonly error?: { readonly code: string } }).error?.code;
}
