import type { components, operations, paths } from "./schema.js";

type Schemas = components["schemas"];

/** A user, without hash, secret or internal key. */
export type User = Schemas["User"];
/** What binds a mailed code to the client that asked for the mail. */
export type RequestedCode = Schemas["RequestedCode"];
export type Role = Schemas["Role"];
/** A session in the list of sessions. */
export type Session = Schemas["Session"];
/** A device in the list of sessions. */
export type Device = Schemas["Device"];
export type TwoFactor = Schemas["TwoFactor"];
export type TwoFactorDevice = Schemas["TwoFactorDevice"];
/** The answer to a refresh. */
export type Tokens = Schemas["Tokens"];
/** The body of every failure of the API. */
export type Failure = Schemas["Failure"];
/** One broken rule of one field. */
export type Detail = Schemas["Detail"];

type Json<A> = A extends { content: { "application/json": infer B } } ? B : never;
type Answers<O> = O extends { responses: infer R } ? Json<R[keyof R]> : never;
type CodeOf<A> = A extends { error: infer C extends string } ? C : never;

/** The name of an operation in the OpenAPI document. */
export type OperationName = keyof operations;
/** Every code that the API can answer. */
export type ErrorCode = CodeOf<Answers<operations[OperationName]>>;
/** The codes that one operation can answer: `ErrorCodeOf<"login">`. */
export type ErrorCodeOf<N extends OperationName> = CodeOf<Answers<operations[N]>>;

/** The body of a success, without the fields that all successes have. */
export type AnswerOf<N extends OperationName> = Omit<
  Exclude<Answers<operations[N]>, { error: string }>,
  "success" | "message"
>;
/** The body of a request. */
export type BodyOf<N extends OperationName> = operations[N] extends {
  requestBody?: { content: { "application/json": infer B } };
}
  ? B
  : never;

export type Method = "GET" | "POST" | "PUT" | "DELETE";
/** The paths that have this method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<Lowercase<M>, object> ? P : never;
}[keyof paths];
/** The answer of a method and path, without the fields that all successes have. */
export type AnswerAt<M extends Method, P extends PathOf<M>> = paths[P] extends Record<Lowercase<M>, infer O>
  ? Omit<Exclude<Answers<O>, { error: string }>, "success" | "message">
  : never;
/** The body of a method and path. */
export type BodyAt<M extends Method, P extends PathOf<M>> =
  paths[P] extends Record<Lowercase<M>, { requestBody?: { content: { "application/json": infer B } } }> ? B : never;

/** What every method takes beside its fields. */
export interface RequestOptions {
  /** Ends the wait. The method then rejects with the signal's reason, as `fetch` does. */
  signal?: AbortSignal | undefined;
}
