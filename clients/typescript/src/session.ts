import { GatehouseError, isGatehouseError, type AnyErrorCode } from "./errors.js";
import { abortable, isLost, isOverload, parseObject, repeating, send, type Transport } from "./http.js";
import type { Store } from "./storage.js";
import { openTabs } from "./tabs.js";
import type { Tokens, User } from "./types.js";

/** Why nobody is signed in any more: `logout`, `account_deleted`, or the code with which the API ended the session. */
export type SignOutReason = "logout" | "account_deleted" | AnyErrorCode;

export type AuthEvent =
  | { type: "signed_in"; user: User }
  | { type: "refreshed"; user: User }
  | { type: "user_updated"; user: User }
  | { type: "signed_out"; reason: SignOutReason };

/** What a page shows. The object is replaced on every change and never modified. */
export type AuthState =
  /** Not known yet. `error` says why the last attempt to restore the session failed. */
  | { status: "loading"; user: null; error?: unknown }
  | { status: "signedIn"; user: User }
  | { status: "signedOut"; user: null };

/** A session as this tab keeps it. */
interface Held {
  /** Tells sessions apart. In cookie mode it is the CSRF token, which a session keeps for life. */
  id: string;
  user: User;
  accessToken: string;
  /** Not in cookie mode. */
  refreshToken?: string | undefined;
  /** Milliseconds since 1970. */
  expiresAt: number;
  /** The access token is refreshed from then on: a little before it expires. */
  renewAt: number;
}

/** A change that a tab tells the others, or in memory mode the question of a new tab. */
interface Message {
  held?: Held | null;
  type?: AuthEvent["type"];
  reason?: SignOutReason;
  /** The session that changed. */
  id?: string | undefined;
}

export interface SessionOptions {
  transport: Transport;
  /** The name of this client's session in the storage, in locks and in messages. */
  key: string;
  /** Where the session outlives the page. */
  store: Store | undefined;
  isCookieMode: boolean;
  /** Whether each tab has a session of its own. */
  isPerTab: boolean;
  /** Whether tabs tell each other. */
  isShared: boolean;
}

// The replaced refresh token is good for ten seconds after a refresh (REFRESH_GRACE); a later repeat looks like a
// stolen token and ends the session. So all tries of one refresh start within nine seconds.
const REFRESH_BUDGET = 9_000;
const REFRESH_TIMEOUT = 4_000;
/** Milliseconds for the message of a tab that has just refreshed. Without one, that refresh has failed. */
const MESSAGE_WAIT = 1_000;
/** Milliseconds in which an open tab answers a new one. The page waits for it, so it is short. */
const ANSWER_WAIT = 150;

export type SessionKeeper = ReturnType<typeof keepSession>;

/** Keeps one session: restores it, refreshes its tokens, and agrees with other tabs about it. */
export function keepSession({ transport, key, store, isCookieMode, isPerTab, isShared }: SessionOptions) {
  let held: Held | null = null;
  let state: AuthState = { status: "loading", user: null };
  let restoring: Promise<void> | undefined;
  let refreshing: Promise<Held> | undefined;
  const listeners = new Set<(event: AuthEvent) => void>();
  let onChange: (() => void) | undefined;
  const tabs = openTabs<Message>(key, isShared, receive);

  /** Replaces the session in this tab. */
  function adopt(next: Held | null, event?: AuthEvent) {
    held = next;
    state = next ? { status: "signedIn", user: next.user } : { status: "signedOut", user: null };
    if (event) emit(event);
  }

  function emit(event: AuthEvent) {
    for (const listener of listeners) {
      try {
        listener(event);
      } catch (error) {
        // A listener's fault must not break a refresh. It is reported as an uncaught error.
        queueMicrotask(() => { throw error; });
      }
    }
  }

  /** Replaces the session in the storage, in this tab and in the others, in this order: a crash loses no token. */
  async function commit(next: Held, type: "signed_in" | "refreshed" | "user_updated") {
    await store?.set(key, JSON.stringify(next));
    adopt(next, { type, user: next.user });
    tabs.post({ held: next, type, id: next.id });
  }

  async function end(reason: SignOutReason) {
    const id = held?.id;
    await store?.remove(key);
    if (held) adopt(null, { type: "signed_out", reason });
    else adopt(null);
    tabs.post({ held: null, reason, id });
  }

  /** Takes over what another tab has done. */
  function follow(next: Held | null, type: AuthEvent["type"] = "refreshed", reason: SignOutReason = "logout") {
    const before = held;
    if (JSON.stringify(next) === JSON.stringify(before)) return;
    const change = before?.user.id === next?.user.id ? type : "signed_in";
    adopt(next, next ? ({ type: change, user: next.user } as AuthEvent) : { type: "signed_out", reason });
    onChange?.();
  }

  function receive({ held: next, type, reason, id }: Message) {
    if (next === undefined) {
      // A new tab asks. Only memory mode asks: elsewhere the storage or the cookie has the session.
      if (held) tabs.post({ held, type: "refreshed", id: held.id });
      return;
    }
    if (isPerTab) {
      // A duplicated tab has a copy of the session; other tabs have sessions of their own.
      if (id !== held?.id) return;
      if (next) void store?.set(key, JSON.stringify(next));
      else void store?.remove(key);
    }
    if (next) restoring ??= Promise.resolve();
    follow(next, type, reason);
  }

  /** Waits for a change by another tab, at most for so many milliseconds. */
  function nextChange(wait: number): Promise<void> {
    return new Promise((resolve) => {
      onChange = resolve;
      setTimeout(resolve, wait);
    });
  }

  async function readStore(): Promise<Held | null> {
    return parseHeld(await store?.get(key));
  }

  function toHeld(tokens: Partial<Tokens>, user: User, id: string): Held {
    const lifetime = (tokens.expiresIn ?? 0) * 1000;
    const expiresAt = Date.now() + lifetime;
    return {
      id,
      user,
      accessToken: tokens.accessToken ?? "",
      refreshToken: tokens.refreshToken,
      expiresAt,
      renewAt: expiresAt - Math.min(30_000, lifetime / 10),
    };
  }

  /** Starts a session with the answer of a sign-in. */
  async function start(answer: Partial<Tokens> & { user: User }) {
    tabs.open();
    restoring = Promise.resolve();
    await commit(toHeld(answer, answer.user, answer.csrfToken ?? randomId()), "signed_in");
  }

  async function load() {
    tabs.open();
    if (isCookieMode) {
      await refreshed(undefined).catch((error: unknown) => {
        if (!isSessionOver(error)) throw error;
      });
    } else if (store) {
      const stored = await readStore();
      if (!held && stored) adopt(stored, { type: "signed_in", user: stored.user });
    } else if (isShared) {
      tabs.post({});
      await nextChange(ANSWER_WAIT);
    }
    if (!held) adopt(null);
  }

  /** Restores the session once. After a failure the next call tries again. */
  function restore(signal?: AbortSignal): Promise<void> {
    restoring ??= load().catch((error: unknown) => {
      restoring = undefined;
      state = { status: "loading", user: null, error };
      throw error;
    });
    return abortable(restoring, signal);
  }

  /** Has the CSRF token that belongs to the cookie. */
  async function fetchCsrfToken(): Promise<string> {
    const request = () => send(transport, "POST", "/api/auth/csrf-token", { timeout: REFRESH_TIMEOUT });
    return (await repeatable(request)).csrfToken;
  }

  /** Sends a request that the cookie authenticates. */
  async function withCsrfToken<T>(request: (csrfToken: string | undefined) => Promise<T>): Promise<T> {
    if (!isCookieMode) return request(undefined);
    const known = held?.id;
    try {
      return await request(known ?? (await fetchCsrfToken()));
    } catch (error) {
      // The token has changed: another tab has signed in, or the server has a new GUARD_SECRET.
      if (!known || !isGatehouseError(error, "csrf_failed")) throw error;
      return request(await fetchCsrfToken());
    }
  }

  /** Exchanges the refresh token. */
  async function rotate(): Promise<Held> {
    const before = held;
    if (!before && !isCookieMode) throw nobody();
    const isOther = () => held?.id !== before?.id;
    try {
      let id = before?.id ?? "";
      const tokens = await withCsrfToken((csrfToken) => {
        const options = {
          body: isCookieMode ? undefined : { refreshToken: before?.refreshToken ?? "" },
          headers: transportHeaders(csrfToken),
          timeout: REFRESH_TIMEOUT,
        };
        const request = () => send(transport, "POST", "/api/auth/refresh", options);
        return repeatable(request);
      });
      let user = before?.user;
      if (isCookieMode) {
        id = tokens.csrfToken ?? id;
        // Another session: the page was loaded, or somebody has signed in elsewhere.
        if (id !== before?.id) user = undefined;
      }
      user ??= (await repeatable(() => send(transport, "GET", "/api/auth/profile", { headers: bearer(tokens.accessToken) }))).user;
      await readThrough();
      // A sign-out or another sign-in came first. The new tokens belong to a session that is over for this browser.
      if (isOther()) return held ?? Promise.reject(nobody());
      const next = toHeld(tokens, user, id);
      await commit(next, before?.user.id === user.id ? "refreshed" : "signed_in");
      return next;
    } catch (error) {
      if (!isSessionOver(error)) throw error;
      await readThrough();
      if (!isOther()) await end(error.code);
      throw error;
    }
  }

  /** Takes over what the storage has by now. */
  async function readThrough() {
    if (store) follow(await readStore());
  }

  /** Replaces `used`, the access token that was refused or is about to expire, once for all callers and tabs. */
  function refreshed(used: string | undefined, signal?: AbortSignal): Promise<Held> {
    refreshing ??= tabs
      .exclusive(async (waited) => {
        await readThrough();
        // The lock can come before the other tab's message, and before its change of localStorage.
        if (waited && held?.accessToken === used) await nextChange(MESSAGE_WAIT);
        return held && held.accessToken !== used ? held : rotate();
      }, lockName())
      .finally(() => { refreshing = undefined; });
    return abortable(refreshing, signal);
  }

  function lockName(): string {
    return isPerTab ? `${key}/${held?.id}` : key;
  }

  /** An access token that is valid now, or undefined where nobody is signed in. */
  async function accessToken(signal?: AbortSignal): Promise<string | undefined> {
    await restore(signal);
    if (!held) return undefined;
    const { accessToken: token, renewAt, expiresAt } = held;
    if (Date.now() < renewAt) return token;
    try {
      return (await refreshed(token, signal)).accessToken;
    } catch (error) {
      // The refresh was early. Without network or during an outage the old token still does.
      if (isSessionOver(error) || signal?.aborted || Date.now() >= expiresAt) throw error;
      return token;
    }
  }

  /** Ends the session here if the API has ended the one that `used` belongs to. */
  async function revoked(used: string, reason: AnyErrorCode) {
    await readThrough();
    if (held?.accessToken === used) await end(reason);
  }

  function transportHeaders(csrfToken?: string): Record<string, string | undefined> {
    return isCookieMode ? { "X-Token-Transport": "cookie", "X-CSRF-Token": csrfToken } : {};
  }

  async function setUser(user: User) {
    const isNews = () => held?.user.id === user.id && JSON.stringify(held.user) !== JSON.stringify(user);
    if (!isNews()) return;
    // Without the lock, this could put old tokens over those that another tab stores at this moment.
    await tabs.exclusive(async () => {
      await readThrough();
      if (held && isNews()) await commit({ ...held, user }, "user_updated");
    }, lockName());
  }

  function subscribe(listener: (event: AuthEvent) => void): () => void {
    tabs.open();
    // Its own object: one function may be subscribed twice.
    const entry = (event: AuthEvent) => listener(event);
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  // A browser without BroadcastChannel still tells of changes of localStorage.
  if (isShared && store && !isPerTab && !globalThis.BroadcastChannel) {
    globalThis.addEventListener?.("storage", (event) => {
      // Without a key, all of the storage was cleared.
      if (event.key === key || event.key === null) follow(parseHeld(event.newValue));
    });
  }

  return {
    state: () => state,
    held: () => held,
    restore, start, end, accessToken, refreshed, revoked, setUser, subscribe, transportHeaders, withCsrfToken,
  };
}

/** Repeats a request that has no effect of its own, or the same effect again. */
function repeatable<T>(request: () => Promise<T>): Promise<T> {
  return repeating(request, (error) => isLost(error) || isOverload(error), REFRESH_BUDGET);
}

export function bearer(accessToken: string | undefined): Record<string, string | undefined> {
  return { Authorization: accessToken && `Bearer ${accessToken}` };
}

function parseHeld(text: string | null | undefined): Held | null {
  const value = parseObject(text ?? "") as Held | undefined;
  return value?.user && value.accessToken ? value : null;
}

function nobody(): GatehouseError {
  return new GatehouseError("missing_token", "Nobody is signed in.", 401);
}

/** No other failure signs anybody out: neither an outage nor a limit ends a session. */
export function isSessionOver(error: unknown): error is GatehouseError {
  return isGatehouseError(error) && error.status === 401 && /^(refresh_token_|token_revoked$|missing_token$)/.test(error.code);
}

function randomId(): string {
  // crypto.randomUUID needs TLS; this does not.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
