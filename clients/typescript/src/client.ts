import { keepDevices } from "./devices.js";
import { isGatehouseError } from "./errors.js";
import { apiUrl, isOverload, repeating, send, type SendOptions, type Transport } from "./http.js";
import { bearer, isSessionOver, keepSession, type AuthEvent, type AuthState } from "./session.js";
import { memoryStore, webStore, type Store } from "./storage.js";
import type { AnswerAt, AnswerOf, BodyAt, BodyOf, Method, PathOf, RequestedCode, RequestOptions, User } from "./types.js";

export interface ClientOptions {
  /** The API's address, without `/api/auth`. */
  url: string;
  /**
   * Where tokens are kept.
   *
   * - `"memory"` (default): variables of the page. Open tabs share the session; a reload of the only tab loses it.
   * - `"cookie"`: the refresh token is an `HttpOnly` cookie of the API, which no script can read.
   * - `"local"`: `localStorage`. Every script of the page can read it, also later.
   * - `"session"`: `sessionStorage`. Each tab has a session of its own.
   * - a {@link Store} of your own.
   */
  storage?: "memory" | "cookie" | "local" | "session" | Store;
  /** The origins of your own APIs, which get the access token. Default: the page's origin and the API's. */
  apis?: string[];
  /** Used in place of the global `fetch`. */
  fetch?: typeof fetch;
  /** Milliseconds until a request to the API fails with `timeout`. Default: 10,000. */
  timeout?: number;
  /** Keeps clients of one page apart: part of the names in storage, locks and messages. Default: `"gatehouse"`. */
  storageKey?: string;
  /** Whether tabs tell each other about changes. Default: true in a page, false elsewhere. */
  shareTabs?: boolean;
}

/** One user's sign-in at the API. */
export type GatehouseClient = ReturnType<typeof createClient>;

// The longest time, in milliseconds, that a request waits for a limit before its last try.
const WAIT_BUDGET = 10_000;

/** Makes a client for one user: in a browser or an app, not for all visitors of a server. */
export function createClient(options: ClientOptions) {
  const { storage = "memory", storageKey = "gatehouse", timeout = 10_000 } = options;
  const url = apiUrl(options.url);
  const isPage = typeof document !== "undefined";
  const isCookieMode = storage === "cookie";
  const fetcher: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
  const transport: Transport = {
    url,
    fetch: fetcher,
    timeout,
    // Without cookie mode no cookie is sent or kept: a logout that a cookie comes with would need a CSRF token.
    init: { credentials: isCookieMode ? "include" : "omit" },
  };
  const store =
    storage === "local" || storage === "session" ? webStore(`${storage}Storage`)
    : typeof storage === "object" ? storage
    : undefined;
  const key = `${storageKey}:${url}`;
  const session = keepSession({
    transport, key, store, isCookieMode,
    isPerTab: storage === "session",
    isShared: options.shareTabs ?? isPage,
  });
  const devices = keepDevices(store ?? memoryStore(), `${key}:devices`);
  // "null" is the origin of sandboxed pages and files: no name of anybody.
  const origins = new Set(options.apis?.map((api) => new URL(api).origin) ?? [globalThis.location?.origin, new URL(url).origin]);
  origins.delete("null");

  /** A request as the user, or as a guest where nobody is signed in. */
  async function authorized<M extends Method, P extends PathOf<M>>(
    method: M,
    path: P,
    { signal, headers, ...fields }: RequestOptions & Omit<SendOptions<BodyAt<M, P>>, "timeout"> = {},
  ): Promise<AnswerAt<M, P>> {
    for (let isRepeat = false; ; isRepeat = true) {
      const token = await session.accessToken(signal);
      const request = () => send(transport, method, path, { ...fields, signal, headers: { ...headers, ...bearer(token) } });
      try {
        // Only a GET is repeated: any other request that is answered 503 may have had an effect.
        return await (method === "GET" ? repeating(request, isOverload, WAIT_BUDGET, signal) : request());
      } catch (error) {
        // A wrong password or code of a signed-in user is 403, and no reason to refresh.
        if (!token || !isGatehouseError(error) || error.status !== 401) throw error;
        if (error.code === "token_revoked") await session.revoked(token, error.code);
        if (isRepeat || (error.code !== "token_expired" && error.code !== "invalid_token")) throw error;
        await session.refreshed(token, signal);
      }
    }
  }

  /** A request that needs nobody to be signed in. */
  function guest<P extends PathOf<"POST">>(path: P, body: BodyAt<"POST", P>, { signal }: RequestOptions = {}, headers = {}) {
    return send(transport, "POST", path, { body, signal, headers: { ...session.transportHeaders(), ...headers } });
  }

  /** The access token, or undefined where nobody is signed in any more. */
  async function tokenOrGuest(token: Promise<string | undefined>): Promise<string | undefined> {
    try {
      return await token;
    } catch (error) {
      if (isSessionOver(error)) return undefined;
      throw error;
    }
  }

  /** Shows what an operation has changed of the user. */
  async function reread(signal: AbortSignal | undefined) {
    if (!session.held()) return;
    try {
      await profile.get({ signal });
    } catch {
      // The operation itself has succeeded. Events and the next `profile.get` tell everything else.
    }
  }

  const profile = {
    /** The user as the record is now. */
    async get(options?: RequestOptions): Promise<AnswerOf<"getProfile">> {
      const answer = await authorized("GET", "/api/auth/profile", options);
      await session.setUser(answer.user);
      return answer;
    },
    /** Changes the fields that are given; null clears a field. */
    async update(fields: BodyOf<"updateProfile">, options?: RequestOptions): Promise<User> {
      const { user } = await authorized("PUT", "/api/auth/profile", { ...options, body: fields });
      await session.setUser(user);
      return user;
    },
    /** Deletes the account and signs out. */
    async delete(fields: BodyOf<"deleteAccount">, options?: RequestOptions): Promise<void> {
      await authorized("DELETE", "/api/auth/profile", { ...options, body: fields });
      await session.end("account_deleted");
    },
  };

  const sessions = {
    /** All sessions and devices of the user. */
    list(options?: RequestOptions): Promise<AnswerOf<"listSessions">> {
      return authorized("GET", "/api/auth/sessions", options);
    },
    /** Ends one session, or forgets one device. */
    async revoke(id: string, options?: RequestOptions): Promise<void> {
      await authorized("DELETE", "/api/auth/sessions/{id}", { ...options, params: { id } });
    },
    /** Ends all sessions but this one. */
    async revokeOthers(options?: RequestOptions): Promise<void> {
      await authorized("DELETE", "/api/auth/sessions", options);
    },
  };

  const twoFactor = {
    /** Starts with a new device. The answer is shown once. */
    setup(fields: BodyOf<"setUpTwoFactor"> = {}, options?: RequestOptions): Promise<AnswerOf<"setUpTwoFactor">> {
      return authorized("POST", "/api/auth/2fa/setup", { ...options, body: fields });
    },
    /** Confirms a device with its first code. The first device brings the backup codes, shown once. */
    async verify(
      fields: Omit<BodyOf<"verifyTwoFactor">, "regenerate">,
      options?: RequestOptions,
    ): Promise<AnswerOf<"verifyTwoFactor">> {
      const answer = await authorized("POST", "/api/auth/2fa/verify", { ...options, body: fields });
      await reread(options?.signal);
      return answer;
    },
    /** Makes new backup codes; the old ones are void. */
    async regenerate(
      fields: Pick<BodyOf<"verifyTwoFactor">, "token" | "password">,
      options?: RequestOptions,
    ): Promise<string[]> {
      const body = { ...fields, regenerate: true };
      return (await authorized("POST", "/api/auth/2fa/verify", { ...options, body })).backupCodes ?? [];
    },
    /** Removes one device, or without `deviceId` all of them. */
    async disable(fields: BodyOf<"disableTwoFactor">, options?: RequestOptions): Promise<void> {
      await authorized("POST", "/api/auth/2fa/disable", { ...options, body: fields });
      await reread(options?.signal);
    },
    /** Turns two-factor authentication off with the token of the mailed link. It ends every session. */
    async undo(fields: BodyOf<"undoTwoFactor">, options?: RequestOptions): Promise<void> {
      await guest("/api/auth/2fa/undo", fields, options);
    },
  };

  return {
    /** Creates an account. `isSignedIn` is false where the address must be verified first. */
    async register(fields: BodyOf<"register">, options?: RequestOptions): Promise<{ user: User; isSignedIn: boolean }> {
      const answer = await guest("/api/auth/register", fields, options);
      const isSignedIn = !!answer.accessToken;
      await devices.keep(answer.user, answer.deviceToken);
      if (isSignedIn) await session.start(answer);
      return { user: answer.user, isSignedIn };
    },

    /**
     * Signs in. `two_factor_required` means: show a field for the code, and send all again with `twoFactorToken`.
     * With `passwordLeaked` the password is known from a data leak: advise a change.
     */
    async login(fields: BodyOf<"login">, options?: RequestOptions): Promise<User & { passwordLeaked?: true }> {
      const name = fields.identifier || fields.email || fields.username || "";
      const device = isCookieMode ? undefined : await devices.find(name);
      const answer = await guest("/api/auth/login", fields, options, { "X-Device-Token": device });
      await devices.keep(answer.user, answer.deviceToken);
      await session.start(answer);
      return answer.passwordLeaked ? { ...answer.user, passwordLeaked: true } : answer.user;
    },

    /** Signs out. If it fails, the user is still signed in: say so. A 401 means that the session was over already. */
    async logout({ allDevices = false, signal }: RequestOptions & { allDevices?: boolean } = {}): Promise<void> {
      await session.restore(signal);
      // An expired token signs out its own session, and no other.
      if (allDevices) await session.accessToken(signal);
      const held = session.held();
      if (!held) return;
      try {
        await session.withCsrfToken((csrfToken) => {
          const headers = { ...bearer(held.accessToken), ...session.transportHeaders(csrfToken) };
          const body = { allDevices, refreshToken: held.refreshToken ?? null };
          const request = () => send(transport, "POST", "/api/auth/logout", { body, headers, signal });
          // Safe to repeat: a session that is over is over again.
          return repeating(request, isOverload, WAIT_BUDGET, signal);
        });
      } catch (error) {
        if (!isGatehouseError(error) || error.status !== 401) throw error;
        await session.end("logout");
        // The other sessions may still live.
        if (allDevices) throw error;
        return;
      }
      await session.end("logout");
    },

    /** Restores the session of an earlier page once. Resolves with the user, or null where nobody is signed in. */
    async session({ signal }: RequestOptions = {}): Promise<User | null> {
      await session.restore(signal);
      return session.held()?.user ?? null;
    },

    /** Replaces the tokens now. Requests do it by themselves. */
    async refresh({ signal }: RequestOptions = {}): Promise<User> {
      await session.restore(signal);
      return (await session.refreshed(session.held()?.accessToken, signal)).user;
    },

    /** An access token that is valid now, for a WebSocket for instance, or undefined where nobody is signed in. */
    accessToken({ signal }: RequestOptions = {}): Promise<string | undefined> {
      return tokenOrGuest(session.accessToken(signal));
    },

    /**
     * Like `fetch`, with the access token for the origins in `apis`. At 401 it refreshes and repeats once. Limits,
     * bodies and failures of your own API are yours: it resolves and rejects as `fetch` does.
     */
    async fetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
      const isRequest = typeof input === "object" && "headers" in input;
      const target = new URL(isRequest ? input.url : input, globalThis.location?.href);
      const headers = new Headers(init.headers ?? (isRequest ? input.headers : undefined));
      if (!origins.has(target.origin) || headers.has("Authorization")) return fetcher(input, init);
      const signal = init.signal ?? (isRequest ? input.signal : undefined);
      const attempt = (token: string | undefined) => {
        if (token) headers.set("Authorization", `Bearer ${token}`);
        // A request's body can be read once; the clone leaves it for a repeat.
        return fetcher(isRequest ? input.clone() : input, { ...init, headers });
      };
      const token = await tokenOrGuest(session.accessToken(signal));
      const response = await attempt(token);
      if (response.status !== 401 || !token || isStream(init.body)) return response;
      const renewed = await tokenOrGuest(session.refreshed(token, signal).then((held) => held.accessToken));
      if (!renewed) return response;
      await response.body?.cancel();
      return attempt(renewed);
    },

    profile,
    sessions,
    twoFactor,

    /** Sets a new password. Every other session is over. */
    async changePassword(fields: BodyOf<"changePassword">, options?: RequestOptions): Promise<void> {
      const { deviceToken } = await authorized("POST", "/api/auth/change-password", { ...options, body: fields });
      await devices.keep(session.held()?.user, deviceToken);
    },

    /** Sends a mail with a link and a code. The answer is the same for every address; keep it, as the code works only with it. */
    async requestPasswordReset(fields: BodyOf<"requestPasswordReset">, options?: RequestOptions): Promise<RequestedCode> {
      return await guest("/api/auth/password-reset/request", fields, options);
    },

    /** Sets a new password with the token of the mailed link. It ends every session and does not sign in. */
    async confirmPasswordReset(fields: BodyOf<"confirmPasswordReset">, options?: RequestOptions): Promise<void> {
      await guest("/api/auth/password-reset/confirm", fields, options);
    },

    /** Verifies an address with the token of the mailed link, or with `reject` removes the unverified account. */
    async verifyEmail(fields: BodyOf<"verifyEmail">, options?: RequestOptions): Promise<void> {
      // The link proves the mailbox; the access token or the device token proves who registered.
      const headers = isCookieMode ? {} : { "X-Device-Token": await devices.latest() };
      await authorized("POST", "/api/auth/verify-email", { ...options, body: fields, headers });
      await reread(options?.signal);
    },

    /** Sends the mail again. The answer is the same for every address; keep it, as the code works only with it. */
    async resendVerification(fields: BodyOf<"resendVerification">, options?: RequestOptions): Promise<RequestedCode> {
      return await guest("/api/auth/verify-email/resend", fields, options);
    },

    /** Calls `listener` after every change, also of other tabs. Returns the function that ends it. */
    onAuthStateChange(listener: (event: AuthEvent) => void): () => void {
      return session.subscribe(listener);
    },

    /** The user, or null where nobody is signed in or nothing is known yet. */
    get user(): User | null {
      return session.state().user;
    },

    /** The user and whether it is known yet. The object is another one after every change. */
    get state(): AuthState {
      return session.state();
    },
  };
}

function isStream(body: unknown): boolean {
  return typeof ReadableStream !== "undefined" && body instanceof ReadableStream;
}
