import { parseObject } from "./http.js";
import type { Store } from "./storage.js";
import type { User } from "./types.js";

const MAX_NAMES = 10;

/**
 * Device tokens by the names that people type at sign-in: each token is bound to one account. They stay after a
 * sign-out, so that strangers who lock the account do not lock out its owner.
 */
export function keepDevices(store: Store, key: string) {
  const read = async () => new Map(Object.entries(parseObject((await store.get(key)) ?? "") ?? {}) as [string, string][]);
  return {
    /** The token of the account with this address or username. */
    find: async (name: string) => (await read()).get(name.trim().toLowerCase()),
    /** The token of the account that was used last. */
    latest: async () => [...(await read()).values()].at(-1),
    async keep(user: User | undefined, token: string | undefined) {
      if (!user || !token) return;
      const devices = await read();
      for (const name of [user.username, user.email]) {
        if (!name) continue;
        // Again at the end: the order is that of the last use.
        devices.delete(name.toLowerCase());
        devices.set(name.toLowerCase(), token);
      }
      await store.set(key, JSON.stringify(Object.fromEntries([...devices].slice(-MAX_NAMES))));
    },
  };
}
