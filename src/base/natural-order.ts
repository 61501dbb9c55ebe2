/** The order in which people look for names. */

/** Made once: for a thousand names that is most of the time. */
const NAMES = new Intl.Collator("en", { numeric: true });

/** h2 before h10. */
export function byName<T extends { readonly name: string }>(all: readonly T[]): readonly T[] {
  return all.toSorted((a, b) => NAMES.compare(a.name, b.name));
}

export function byHost<T extends { readonly host: string; readonly path: string }>(
  all: readonly T[],
): readonly T[] {
  return all.toSorted((a, b) => NAMES.compare(a.host, b.host) || NAMES.compare(a.path, b.path));
}
