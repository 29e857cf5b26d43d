export { createClient, type ClientOptions, type GatehouseClient } from "./client.js";
export { GatehouseError, isGatehouseError, type AnyErrorCode, type ClientErrorCode } from "./errors.js";
export type { AuthEvent, AuthState, SignOutReason } from "./session.js";
export type { Store } from "./storage.js";
export type * from "./types.js";
export type { components, operations, paths } from "./schema.js";
