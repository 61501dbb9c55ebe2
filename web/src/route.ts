/** Where in the dashboard we are: the part of the address after "#". */
import { useSyncExternalStore } from "react";

export interface Place {
  readonly page: string;
  /** What the page is about, such as a volume's name. */
  readonly name: string | undefined;
}

function read(): string {
  return window.location.hash;
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

export function usePlace(): Place {
  const hash = useSyncExternalStore(subscribe, read);
  const [, page = "", name] = hash.replace(/^#/, "").split("/");
  return {
    page: page === "" ? "overview" : page,
    name: name === undefined || name === "" ? undefined : decode(name),
  };
}

export function href(page: string, name?: string): string {
  return name === undefined ? `#/${page}` : `#/${page}/${encodeURIComponent(name)}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Typed by hand: nothing has that name.
  }
}
