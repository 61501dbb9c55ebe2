/**
 * Takes secrets out of what is given away: by the names of fields, and by what secrets look like.
 */
const REMOVED = "(removed)";

const SECRET_FIELD = /token|secret|password|passphrase|authorization|cookie|private|\bkey\b/i;
/** Counters and times have such names, too; numbers are no secrets here. */
const SECRET_TEXTS: readonly RegExp[] = [
  /-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)/g,
  /\bdrystone-[A-Za-z0-9_-]{16,}/g,
  /\b(?:Bearer|Basic) [A-Za-z0-9+/=._-]+/gi,
  /\b(password|passwd|secret|token)=[^\s&"']+/gi,
];

export function redacted(value: unknown): unknown {
  if (typeof value === "string") return withoutSecrets(value);
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      typeof one === "string" && SECRET_FIELD.test(name) ? REMOVED : redacted(one),
    ]),
  );
}

function withoutSecrets(text: string): string {
  return SECRET_TEXTS.reduce((left, pattern) => left.replace(pattern, REMOVED), text);
}
