// What must compile, and what must not. `npm run types:check` reads it; it never runs.
import { createClient, isGatehouseError, type AnyErrorCode, type ErrorCode, type ErrorCodeOf, type Store, type User } from "../src/index.js";
import { createServerClient } from "../src/next.js";

type Equal<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const holds = <T extends true>(_?: T) => {};

const client = createClient({ url: "https://api.example.com", storage: "cookie" });
const server = createServerClient({ url: "https://api.example.com" });

export async function operations() {
  const { user, isSignedIn } = await client.register({ email: "a@example.com", password: "x" });
  holds<Equal<typeof user, User>>();
  holds<Equal<typeof isSignedIn, boolean>>();
  const { backupCodesLeft } = (await client.profile.get()).twoFactor;
  holds<Equal<typeof backupCodesLeft, number>>();
  await client.profile.update({ name: null });
  const { secret } = await client.twoFactor.setup();
  holds<Equal<typeof secret, string>>();
  const { sessions } = await client.sessions.list({ signal: new AbortController().signal });
  holds<Equal<(typeof sessions)[number]["current"], boolean>>();

  // @ts-expect-error the password is missing
  await client.register({ email: "a@example.com" });
  // @ts-expect-error nobody sets a role
  await client.profile.update({ role: "admin" });
  // @ts-expect-error a text, not a number
  await client.twoFactor.verify({ token: 123456 });
}

export async function codes(error: unknown) {
  holds<Equal<Extract<ErrorCode, "token_expired">, "token_expired">>();
  // A code that is `string` would take anything.
  holds<Equal<string extends ErrorCode ? false : true, true>>();
  holds<Equal<ErrorCodeOf<"undoTwoFactor"> extends AnyErrorCode ? true : false, true>>();
  holds<Equal<Extract<ErrorCodeOf<"login">, "email_taken">, never>>();
  holds<Equal<Extract<ErrorCodeOf<"register">, "email_taken">, "email_taken">>();
  if (isGatehouseError(error, "rate_limited")) holds<Equal<typeof error.code, "rate_limited">>();
  // @ts-expect-error there is no such code
  isGatehouseError(error, "rate_limit");
  if (isGatehouseError(error) && error.code === "timeout") return error.details[0]?.params;
  return undefined;
}

export async function states() {
  const { state } = client;
  if (state.status === "signedIn") holds<Equal<typeof state.user, User>>();
  if (state.status === "signedOut") holds<Equal<typeof state.user, null>>();
  client.onAuthStateChange((event) => {
    if (event.type === "signed_out") holds<Equal<Extract<typeof event.reason, "logout">, "logout">>();
    else holds<Equal<typeof event.user, User>>();
  });
}

export async function servers() {
  const { accessToken } = await server.call("POST", "/api/auth/login", { body: { identifier: "ada", password: "x" } });
  holds<Equal<typeof accessToken, string>>();
  const { user } = await server.call("GET", "/api/auth/profile", { accessToken });
  holds<Equal<typeof user, User>>();
  // @ts-expect-error this path has no such method
  await server.call("DELETE", "/api/auth/login");
  // @ts-expect-error a field that the API does not know
  await server.call("POST", "/api/auth/login", { body: { identifier: "ada", password: "x", role: "admin" } });
  const answer = await server.introspect("t", { id: "a", secret: "b" });
  if (answer.active) holds<Equal<typeof answer.sub, string>>();
}

export const stores: Store[] = [localStorageLike(), { get: async () => null, set: async () => {}, remove: async () => {} }];
function localStorageLike(): Store {
  return { get: (key) => localStorage.getItem(key), set: (key, value) => localStorage.setItem(key, value), remove: (key) => localStorage.removeItem(key) };
}
