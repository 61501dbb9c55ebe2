/**
 * The operation table as an OpenAPI 3.1 document, served at /openapi.json: paths, parameters,
 * bodies, answers, refusals and who may ask, from the rows and shapes that the API itself checks
 * by.
 */
import { errorCodes, httpStatusOf } from "./error-codes.ts";
import * as accessShapes from "./access-shapes.ts";
import * as healthShapes from "../health/health-shapes.ts";
import { operationNames, operationRow } from "./operations.ts";
import type { Operation } from "./operations.ts";
import { anyShape } from "./shape.ts";
import type { AnyField, AnyObjectShape, AnyShape } from "./shape.ts";
import { version } from "../version.ts";
import * as repairShapes from "../upkeep/repair-shapes.ts";
import * as snapshotShapes from "../volumes/snapshot-shapes.ts";
import * as viewShapes from "./view-shapes.ts";
import * as vmShapes from "../machines/vm-shapes.ts";

export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json };

type JsonObject = Readonly<Record<string, Json>>;

/** Any request may meet these. */
const COMMON_ERRORS = ["request-invalid", "request-too-large", "origin-refused"] as const;

/** Shapes that are exported have a name in the document; the others stand where they are used. */
const namedShapes: ReadonlyMap<unknown, string> = new Map(
  Object.entries({
    ...viewShapes,
    ...healthShapes,
    ...accessShapes,
    ...vmShapes,
    ...repairShapes,
    ...snapshotShapes,
  })
    .filter(([name]) => name.endsWith("Shape"))
    .map(([name, shape]) => [shape, name.charAt(0).toUpperCase() + name.slice(1, -"Shape".length)]),
);

export function openApi(): JsonObject {
  const schemas: Record<string, Json> = { Refusal: refusalSchema() };
  const writer = new SchemaWriter(schemas);
  const paths: Record<string, Record<string, Json>> = {};
  for (const name of operationNames) {
    const row = operationRow(name);
    const path = row.path.replace(/:(\w+)/g, "{$1}");
    (paths[path] ??= {})[row.method.toLowerCase()] = operationOf(row, writer);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Drystone",
      version,
      description:
        "What can be asked of a running host. Any host answers for the whole cluster where x-drystone-scope is cluster.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "The host that serves this document" }],
    security: [{ token: [] }, { certificate: [] }, {}],
    paths: { ...paths, ...plainPaths() },
    components: {
      schemas,
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description: "From drystone access create; its role must reach x-drystone-role",
        },
        certificate: {
          type: "mutualTLS",
          description: "A certificate of the cluster; nothing on a unix socket and on 127.0.0.1",
        },
      },
    },
  };
}

function operationOf(row: Operation, writer: SchemaWriter): JsonObject {
  const request = anyShape(row.request);
  const pathFields = [...row.path.matchAll(/:(\w+)/g)].map((match) => match[1]!);
  const rest = Object.entries(request.fields).filter(([field]) => !pathFields.includes(field));
  const parameters = [
    ...pathFields.map((field) => parameterOf(field, request.fields[field]!, "path", writer)),
    ...(row.method === "POST"
      ? []
      : rest.map(([field, value]) => parameterOf(field, value, "query", writer))),
  ];
  return {
    operationId: row.name,
    summary: row.summary,
    "x-drystone-role": row.role,
    "x-drystone-scope": row.scope,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(row.method === "POST" ? { requestBody: bodyOf(request, rest, writer) } : {}),
    responses: { "200": answerOf(row, writer), ...refusalsOf(row) },
  };
}

function parameterOf(
  name: string,
  { shape, optional }: AnyField,
  place: "path" | "query",
  writer: SchemaWriter,
): JsonObject {
  const { description } = shape;
  return { name, in: place, required: !optional, description, schema: writer.schemaOf(shape) };
}

function bodyOf(
  request: AnyObjectShape,
  rest: readonly (readonly [string, AnyField])[],
  writer: SchemaWriter,
): JsonObject {
  const schema = writer.objectSchema({ ...request, fields: Object.fromEntries(rest) });
  const required = rest.some(([, { optional }]) => !optional);
  return { required, content: { "application/json": { schema } } };
}

function answerOf(row: Operation, writer: SchemaWriter): JsonObject {
  const shape = anyShape(row.response);
  const json = { "application/json": { schema: writer.schemaOf(shape) } };
  if (row.name !== "events") return { description: shape.description, content: json };
  const stream = {
    "text/event-stream": {
      schema: { type: "string", description: "With follow: an Event as JSON after each data:" },
    },
  };
  return { description: shape.description, content: { ...json, ...stream } };
}

/** By status, with the codes that travel under it. */
function refusalsOf(row: Operation): JsonObject {
  const codes = [...new Set([...COMMON_ERRORS, ...row.errors])];
  const statuses = [...new Set(codes.map(httpStatusOf))].toSorted((a, b) => a - b);
  const entries = statuses.map((status): [string, Json] => {
    const here = codes.filter((code) => httpStatusOf(code) === status);
    const meanings = here.map((code) => `${code}: ${errorCodes[code]?.meaning ?? ""}`);
    return [String(status), { ...refusal(meanings.join("; ")), "x-drystone-codes": here }];
  });
  return {
    ...Object.fromEntries(entries),
    default: refusal("Any other code of the table of errors"),
  };
}

function refusal(description: string): JsonObject {
  const schema = { $ref: "#/components/schemas/Refusal" };
  return { description, content: { "application/json": { schema } } };
}

function refusalSchema(): JsonObject {
  return {
    type: "object",
    required: ["error"],
    additionalProperties: false,
    properties: {
      error: {
        type: "object",
        required: ["code", "message"],
        additionalProperties: false,
        properties: {
          code: { type: "string", examples: Object.keys(errorCodes).slice(0, 3) },
          message: { type: "string", description: "What is wrong" },
          hint: { type: "string", description: "The next step" },
          details: { type: "object", description: "Numbers and names for machines" },
        },
      },
    },
  };
}

/** What is no operation. */
function plainPaths(): JsonObject {
  const plain = (summary: string, statuses: Readonly<Record<string, string>>): JsonObject => ({
    get: {
      summary,
      responses: Object.fromEntries(
        Object.entries(statuses).map(([status, description]) => [
          status,
          { description, content: { "text/plain": { schema: { type: "string" } } } },
        ]),
      ),
    },
  });
  return {
    "/healthz": plain("For load balancers", {
      "200": "The host serves",
      "503": "Something is not served; the text says what",
    }),
    "/readyz": plain("Whether this host takes on work", {
      "200": "It does",
      "503": "It starts, or has no lease in the directory; the text says which",
    }),
    "/metrics": plain("For Prometheus", { "200": "Text format 0.0.4" }),
  };
}

class SchemaWriter {
  readonly #schemas: Record<string, Json>;

  constructor(schemas: Record<string, Json>) {
    this.#schemas = schemas;
  }

  schemaOf(shape: AnyShape): JsonObject {
    const name = namedShapes.get(shape);
    if (name === undefined || shape.kind !== "object") return this.#inline(shape);
    if (!(name in this.#schemas)) {
      this.#schemas[name] = {}; // A tree has itself for children.
      this.#schemas[name] = this.objectSchema(shape);
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  objectSchema(shape: AnyObjectShape): JsonObject {
    const fields = Object.entries(shape.fields);
    const required = fields.filter(([, { optional }]) => !optional).map(([field]) => field);
    return {
      type: "object",
      description: shape.description,
      ...(required.length === 0 ? {} : { required }),
      additionalProperties: false,
      properties: Object.fromEntries(
        fields.map(([field, value]) => [field, this.schemaOf(value.shape)]),
      ),
    };
  }

  #inline(shape: AnyShape): JsonObject {
    const { description, example } = shape;
    const about = { description, ...(example === undefined ? {} : { examples: [example] }) };
    switch (shape.kind) {
      case "text":
        return { ...about, type: "string", minLength: 1, maxLength: shape.lengthMax };
      case "choice":
        return { ...about, type: "string", enum: shape.values };
      case "integer":
        return { ...about, type: "integer", minimum: shape.min, maximum: shape.max };
      case "number":
      case "boolean":
        return { ...about, type: shape.kind };
      case "record":
        return { ...about, type: "object", additionalProperties: true };
      case "list":
        return {
          ...about,
          type: "array",
          maxItems: shape.countMax,
          items: this.schemaOf(shape.of),
        };
      case "object":
        return this.objectSchema(shape);
    }
  }
}
