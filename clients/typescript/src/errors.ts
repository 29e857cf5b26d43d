import type { Detail, ErrorCode, Failure } from "./types.js";

/**
 * Codes of failures that no answer of the API describes.
 *
 * - `network_error`: no answer arrived. The request may have had an effect.
 * - `timeout`: no answer arrived in time. The request may have had an effect.
 * - `invalid_response`: somebody else answered, for instance a captive portal.
 */
export type ClientErrorCode = "network_error" | "timeout" | "invalid_response";

/** Every code of a {@link GatehouseError}. */
export type AnyErrorCode = ErrorCode | ClientErrorCode;

/** A request that failed. Decide by `code`; `message` is a sentence for people and may change. */
export class GatehouseError extends Error {
  override readonly name = "GatehouseError";
  readonly code: AnyErrorCode;
  /** The HTTP status, or 0 without an answer. */
  readonly status: number;
  /** An operator finds the request in the log by it. */
  readonly requestId: string | undefined;
  /** One entry for each broken rule, with `validation_failed`; else empty. */
  readonly details: Detail[];
  /** The name of the limit or lockout, with 429. */
  readonly limit: string | undefined;
  /** The seconds until the next try, with 429 and 503. */
  readonly retryAfter: number | undefined;
  /** The address of the API's page about the code. */
  readonly docs: string | undefined;

  constructor(
    code: AnyErrorCode,
    message: string,
    status = 0,
    fields: Partial<Pick<Failure, "requestId" | "details" | "limit" | "retryAfter" | "docs">> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.requestId = fields.requestId;
    this.details = fields.details ?? [];
    this.limit = fields.limit;
    this.retryAfter = fields.retryAfter;
    this.docs = fields.docs;
  }
}

/** Whether `error` is a {@link GatehouseError}, with this code if one is given. */
export function isGatehouseError<C extends AnyErrorCode = AnyErrorCode>(
  error: unknown,
  code?: C,
): error is GatehouseError & { code: C } {
  return error instanceof GatehouseError && (code === undefined || error.code === code);
}

// API Gateway, CloudFront and load balancers answer these themselves, without a code.
const GATEWAY_CODES: Record<number, ErrorCode> = {
  403: "forbidden",
  404: "not_found",
  413: "payload_too_large",
  415: "unsupported_media_type",
  429: "rate_limited",
  500: "internal_error",
};

/** The error of an answer that is no success. */
export function failureOf(response: Response, body: Partial<Failure> | undefined, url: string): GatehouseError {
  const { status, headers } = response;
  const code = (body?.error ?? GATEWAY_CODES[status] ?? (status > 500 ? "service_unavailable" : "invalid_response")) as AnyErrorCode;
  return new GatehouseError(code, body?.message ?? `The server answered ${status}.`, status, {
    ...body,
    requestId: body?.requestId ?? headers.get("X-Request-Id") ?? undefined,
    retryAfter: body?.retryAfter ?? seconds(headers.get("Retry-After")),
    docs: body?.docs && url + body.docs,
  } as Partial<Failure>);
}

// `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3).
function seconds(value: string | null): number | undefined {
  if (!value) return undefined;
  const number = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return number >= 0 ? number : undefined;
}
