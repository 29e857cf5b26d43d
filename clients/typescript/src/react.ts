import { createContext, createElement, useContext, useSyncExternalStore, type ReactElement, type ReactNode } from "react";
import type { GatehouseClient } from "./client.js";
import type { AuthState } from "./session.js";

const Context = createContext<GatehouseClient | null>(null);
// On the server and during hydration nobody is known yet, so that both render the same.
const UNKNOWN: AuthState = { status: "loading", user: null };

/** Gives the client to all components below it. */
export function GatehouseProvider(props: { client: GatehouseClient; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: props.client }, props.children);
}

/** The client of the provider. */
export function useGatehouse(): GatehouseClient {
  const client = useContext(Context);
  if (!client) throw new Error("useGatehouse and useAuth need a GatehouseProvider above them.");
  return client;
}

/** Who is signed in. The component renders again when that changes, in another tab too. */
export function useAuth(): AuthState & { client: GatehouseClient } {
  const client = useGatehouse();
  const state = useSyncExternalStore(subscriptionOf(client), () => client.state, () => UNKNOWN);
  return { ...state, client };
}

const subscriptions = new WeakMap<GatehouseClient, (notify: () => void) => () => void>();

// One function for each client: React subscribes again whenever the function changes.
function subscriptionOf(client: GatehouseClient) {
  let subscribe = subscriptions.get(client);
  if (!subscribe) {
    subscribe = (notify) => {
      const unsubscribe = client.onAuthStateChange(notify);
      // A failure is in `state.error`.
      client.session().then(notify, notify);
      return unsubscribe;
    };
    subscriptions.set(client, subscribe);
  }
  return subscribe;
}
