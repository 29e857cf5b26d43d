import { apiUrl, isOverload, repeating, send, type Transport } from "./http.js";
import type { AnswerAt, BodyAt, Method, PathOf, RequestOptions, Tokens } from "./types.js";

export { GatehouseError, isGatehouseError } from "./errors.js";

export interface ServerClientOptions {
  /** The API's address, without `/api/auth`. */
  url: string;
  /** The API's `TRUSTED_PROXY_SECRET`. Without it the API counts all visitors as one client: this server. */
  proxySecret?: string | undefined;
  /**
   * The visitor's address without a port, as the host reports it. Never a header that a visitor can write: visitors
   * would choose the address that limits count.
   */
  clientIp?: string | null | undefined;
  /** The visitor's `User-Agent`. */
  userAgent?: string | null | undefined;
  /** The visitor's `Accept-Language`: the language of mails. */
  acceptLanguage?: string | null | undefined;
  /** Used in place of the global `fetch`. */
  fetch?: typeof fetch;
  /** Milliseconds until a request fails with `timeout`. Default: 10,000. */
  timeout?: number;
}

export interface CallOptions<B> extends RequestOptions {
  body?: B;
  /** The names in braces in the path: `{ id }` of `/api/auth/sessions/{id}`. */
  params?: Record<string, string>;
  accessToken?: string | undefined;
  deviceToken?: string | undefined;
}

/** What the API knows about an access token (RFC 7662). */
export type Introspection =
  | { active: false }
  | {
      active: true;
      sub: string;
      sid: string;
      /** The user's present role, not the token's. */
      role: string;
      /** Seconds since 1970. */
      exp: number;
      [claim: string]: unknown;
    };

// The longest time, in milliseconds, that a request waits for a limit before its last try: a visitor waits too.
const WAIT_BUDGET = 3_000;

/** Makes a client for one request of one visitor. It keeps nothing; your server keeps tokens in cookies of its own. */
export function createServerClient(options: ServerClientOptions) {
  if (typeof document !== "undefined") {
    throw new Error("createServerClient has the server's secret: it must not run in a browser.");
  }
  const { proxySecret, clientIp, userAgent, acceptLanguage } = options;
  const transport: Transport = {
    url: apiUrl(options.url),
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timeout: options.timeout ?? 10_000,
    // Next.js caches some requests: one visitor would see the answer to another.
    init: { cache: "no-store" },
  };
  const visitor = {
    "X-Gatehouse-Proxy-Secret": proxySecret,
    "X-Gatehouse-Client-IP": proxySecret && (clientIp ?? undefined),
    "User-Agent": userAgent ?? "unknown",
    "Accept-Language": acceptLanguage ?? undefined,
  };

  return {
    /** Any operation of the API: `call("GET", "/api/auth/profile", { accessToken })`. */
    call<M extends Method, P extends PathOf<M>>(
      method: M,
      path: P,
      { body, params, accessToken, deviceToken, signal }: CallOptions<BodyAt<M, P>> = {},
    ): Promise<AnswerAt<M, P>> {
      const headers = {
        ...visitor,
        Authorization: accessToken && `Bearer ${accessToken}`,
        "X-Device-Token": deviceToken,
      };
      const request = () => send(transport, method, path, { body, params, headers, signal });
      return method === "GET" ? repeating(request, isOverload, WAIT_BUDGET, signal) : request();
    },

    /**
     * Asks whether an access token is valid and its session lives. `service` is the id and secret of one of the
     * API's service clients.
     */
    introspect(token: string, service: { id: string; secret: string }, { signal }: RequestOptions = {}): Promise<Introspection> {
      // RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
      const credentials = [service.id, service.secret].map((part) => encodeURIComponent(part)).join(":");
      const headers = { Authorization: `Basic ${btoa(credentials)}` };
      const request = () =>
        send(transport, "POST", "/api/auth/introspect", { body: new URLSearchParams({ token }), headers, signal });
      return repeating(request, isOverload, WAIT_BUDGET, signal) as Promise<Introspection>;
    },
  };
}

/** The token of `Authorization: Bearer …`, or undefined. It is not verified yet. */
export function bearerToken(headers: Pick<Headers, "get">): string | undefined {
  return /^Bearer +([\w.~+/=-]+)$/i.exec(headers.get("authorization") ?? "")?.[1];
}

export interface CookieToSet {
  name: string;
  value: string;
  path: "/";
  httpOnly: true;
  sameSite: "lax";
  secure: boolean;
  /** Seconds. */
  maxAge: number;
}

const DEVICE_TOKEN_SECONDS = 90 * 24 * 60 * 60;

/**
 * The cookies of your own domain that keep a session: give each to `cookies().set(…)` of Next.js. Without tokens they
 * are those that end it; the device's cookie stays, it protects the next sign-in. Set `secure` to false only on
 * http://localhost.
 */
export function sessionCookies(tokens: Partial<Tokens> | null, { secure = true } = {}): CookieToSet[] {
  const cookie = (name: string, value: string | undefined, maxAge: number | undefined): CookieToSet => ({
    // With the prefix `__Host-` no subdomain can set the cookie (RFC 6265bis, 4.1.3.2).
    name: (secure ? "__Host-" : "") + name,
    value: value ?? "",
    path: "/",
    httpOnly: true,
    sameSite: "lax",
    secure,
    maxAge: value ? (maxAge ?? 0) : 0,
  });
  const list = [
    cookie("access", tokens?.accessToken, tokens?.expiresIn),
    cookie("refresh", tokens?.refreshToken, tokens?.refreshExpiresIn),
  ];
  if (tokens?.deviceToken) list.push(cookie("device", tokens.deviceToken, DEVICE_TOKEN_SECONDS));
  return list;
}
