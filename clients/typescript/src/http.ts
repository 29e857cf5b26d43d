import { failureOf, GatehouseError, isGatehouseError } from "./errors.js";
import type { AnswerAt, BodyAt, Method, PathOf } from "./types.js";

/** How requests reach the API. */
export interface Transport {
  /** The API's address without a slash at the end. */
  url: string;
  fetch: typeof fetch;
  /** Milliseconds for one request. */
  timeout: number;
  /** Properties of every request. */
  init: RequestInit;
}

export interface SendOptions<B = unknown> {
  body?: B | undefined;
  /** The names in braces in the path. */
  params?: Record<string, string> | undefined;
  headers?: Record<string, string | undefined>;
  signal?: AbortSignal | undefined;
  timeout?: number;
}

/** The API's address as an option of the user. */
export function apiUrl(url: string): string {
  return new URL(url).href.replace(/\/+$/, "");
}

/** Sends one request and reads its answer. Every failure is a {@link GatehouseError} but the caller's own abort. */
export async function send<M extends Method, P extends PathOf<M>>(
  transport: Transport,
  method: M,
  path: P,
  { body, params, headers = {}, signal, timeout = transport.timeout }: SendOptions<BodyAt<M, P> | URLSearchParams> = {},
): Promise<AnswerAt<M, P>> {
  signal?.throwIfAborted();
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, timeout);
  signal?.addEventListener("abort", abort);
  try {
    const isForm = body instanceof URLSearchParams;
    const response = await transport.fetch(transport.url + fill(path, params), {
      ...transport.init,
      method,
      headers: definedOnly({ ...headers, "Content-Type": body && !isForm ? "application/json" : undefined }),
      body: isForm ? body : body ? JSON.stringify(body) : null,
      // The API never redirects these requests. A redirect would send passwords and tokens elsewhere.
      redirect: "error",
      signal: limit.signal,
    });
    const answer = parseObject(await response.text());
    if (!response.ok) throw failureOf(response, answer, transport.url);
    if (!answer) throw new GatehouseError("invalid_response", "The answer is not JSON.", response.status);
    return answer as AnswerAt<M, P>;
  } catch (error) {
    if (error instanceof GatehouseError) throw error;
    signal?.throwIfAborted();
    throw limit.signal.aborted
      ? new GatehouseError("timeout", `No answer within ${timeout} ms.`)
      : new GatehouseError("network_error", "No answer from the server.", 0, {}, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function fill(path: string, params: Record<string, string> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
}

function definedOnly(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => !!entry[1]));
}

/** The JSON object in a text, or undefined: what others answer is no contract. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value && typeof value === "object" ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const MAX_REPEATS = 2;

/** The API says that nothing was done, or that it cannot tell. */
export const isOverload = (error: GatehouseError) => error.status === 429 || error.status === 503;
/** The answer is lost. */
export const isLost = (error: GatehouseError) => error.code === "network_error" || error.code === "timeout";

/**
 * Repeats a request that is safe to repeat, at most twice, after the time that the API asks for. `budget` is the
 * longest time, in milliseconds, from the first request to the start of the last.
 */
export async function repeating<T>(
  request: () => Promise<T>,
  isTransient: (error: GatehouseError) => boolean,
  budget: number,
  signal?: AbortSignal,
): Promise<T> {
  const start = Date.now();
  for (let repeats = 0; ; repeats++) {
    try {
      return await request();
    } catch (error) {
      if (repeats === MAX_REPEATS || !isGatehouseError(error) || !isTransient(error)) throw error;
      // Random parts keep clients that failed together from returning together.
      const wait = (error.retryAfter ?? 0.25 * 2 ** repeats) * 1000 + Math.random() * 250;
      if (Date.now() - start + wait > budget) throw error;
      await abortable(new Promise((resolve) => setTimeout(resolve, wait)), signal);
    }
  }
}

/** Waits for work that goes on for others when this caller gives up. */
export function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
