/** A place for tokens. Methods may be asynchronous. A phone has an encrypted one. */
export interface Store {
  get(key: string): string | null | undefined | Promise<string | null | undefined>;
  set(key: string, value: string): unknown;
  remove(key: string): unknown;
}

/** Values for the life of the page. */
export function memoryStore(): Store {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key),
    set: (key, value) => values.set(key, value),
    remove: (key) => values.delete(key),
  };
}

/** `localStorage` or `sessionStorage`, or memory where the browser or a server has none. */
export function webStore(name: "localStorage" | "sessionStorage"): Store {
  let storage: Storage | undefined;
  try {
    storage = globalThis[name];
  } catch {
    // A browser that blocks all cookies throws here (SecurityError). Tokens then live as long as the page.
  }
  if (!storage) return memoryStore();
  const web = storage;
  const unstored = memoryStore();
  return {
    get: (key) => unstored.get(key) ?? web.getItem(key),
    set(key, value) {
      try {
        web.setItem(key, value);
        unstored.remove(key);
      } catch {
        // The storage is full. An old refresh token must not stay there: its use would end the session.
        web.removeItem(key);
        unstored.set(key, value);
      }
    },
    remove(key) {
      web.removeItem(key);
      unstored.remove(key);
    },
  };
}
