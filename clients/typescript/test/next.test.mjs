import assert from "node:assert/strict";
import { test } from "node:test";
import { bearerToken, createServerClient, isGatehouseError, sessionCookies } from "../dist/next.js";
import { person, PASSWORD, url } from "./system.mjs";

const proxySecret = process.env.GATEHOUSE_PROXY_SECRET;
const [id, secret] = process.env.GATEHOUSE_SERVICE.split(":");

const visitor = { url, proxySecret, clientIp: "203.0.113.7", userAgent: "Mozilla/5.0 (a visitor)" };

test("the session has the visitor's address and user agent, not the server's", async () => {
  const server = createServerClient(visitor);
  const { accessToken } = await server.call("POST", "/api/auth/register", { body: person() });

  const { sessions } = await server.call("GET", "/api/auth/sessions", { accessToken });

  assert.equal(sessions[0].ip, "203.0.113.7");
  assert.equal(sessions[0].userAgent, "Mozilla/5.0 (a visitor)");
});

test("names in a path are filled in and escaped", async () => {
  const server = createServerClient(visitor);
  const fields = person();
  await server.call("POST", "/api/auth/register", { body: fields });
  const { accessToken } = await server.call("POST", "/api/auth/login", { body: { identifier: fields.username, password: PASSWORD } });
  const { sessions } = await server.call("GET", "/api/auth/sessions", { accessToken });
  const { id } = sessions.find((session) => !session.current);

  await server.call("DELETE", "/api/auth/sessions/{id}", { accessToken, params: { id } });

  assert.equal((await server.call("GET", "/api/auth/sessions", { accessToken })).sessions.length, 1);
  await assert.rejects(server.call("DELETE", "/api/auth/sessions/{id}", { accessToken, params: { id: "../profile" } }), { code: "not_found" });
});

test("without the right secret the address changes nothing", async () => {
  for (const wrong of [undefined, "a-wrong-secret-of-a-proxy-with-32-bytes-or-more"]) {
    const server = createServerClient({ ...visitor, proxySecret: wrong });
    const { accessToken } = await server.call("POST", "/api/auth/register", { body: person() });

    const { sessions } = await server.call("GET", "/api/auth/sessions", { accessToken });

    assert.notEqual(sessions[0].ip, "203.0.113.7");
  }
});

test("an invalid address of a visitor is a failure, not everybody's limit", async () => {
  const server = createServerClient({ ...visitor, clientIp: "203.0.113.7:443" });

  const error = await server.call("POST", "/api/auth/register", { body: person() }).catch((error) => error);

  assert.ok(isGatehouseError(error, "validation_failed"));
  assert.equal(error.details[0].code, "invalid_address");
});

test("tokens become cookies, and the API takes them back", async () => {
  const server = createServerClient(visitor);
  const fields = person();
  await server.call("POST", "/api/auth/register", { body: fields });
  const first = await server.call("POST", "/api/auth/login", { body: { identifier: fields.username, password: PASSWORD } });
  const jar = Object.fromEntries(sessionCookies(first).map((cookie) => [cookie.name, cookie]));
  const second = await server.call("POST", "/api/auth/refresh", { body: { refreshToken: jar["__Host-refresh"].value } });

  const { user } = await server.call("GET", "/api/auth/profile", { accessToken: sessionCookies(second)[0].value });

  assert.equal(user.email, fields.email);
  assert.deepEqual(Object.keys(jar), ["__Host-access", "__Host-refresh", "__Host-device"]);
  assert.deepEqual(jar["__Host-access"], {
    name: "__Host-access", value: first.accessToken, path: "/", httpOnly: true, sameSite: "lax", secure: true, maxAge: first.expiresIn,
  });
  assert.equal(jar["__Host-refresh"].maxAge, first.refreshExpiresIn);
  assert.deepEqual(sessionCookies(null, { secure: false }).map(({ name, value, maxAge, secure }) => [name, value, maxAge, secure]), [
    ["access", "", 0, false],
    ["refresh", "", 0, false],
  ]);
});

test("introspection knows that a session is over", async () => {
  const server = createServerClient(visitor);
  const { accessToken, user } = await server.call("POST", "/api/auth/register", { body: person() });

  const before = await server.introspect(accessToken, { id, secret });
  await server.call("POST", "/api/auth/logout", { accessToken });
  const after = await server.introspect(accessToken, { id, secret });

  assert.equal(before.active, true);
  assert.equal(before.sub, user.id);
  assert.equal(before.role, "user");
  assert.equal(after.active, false);
  await assert.rejects(server.introspect(accessToken, { id, secret: "wrong" }), { code: "invalid_client", status: 401 });
});

test("the bearer token is read from the header and from nowhere else", () => {
  const read = (value) => bearerToken(new Headers(value === undefined ? {} : { Authorization: value }));

  assert.equal(read("Bearer abc.def-_g"), "abc.def-_g");
  assert.equal(read("bearer  abc"), "abc");
  assert.equal(read("Basic abc"), undefined);
  assert.equal(read("Bearer a b"), undefined);
  assert.equal(read("Bearer"), undefined);
  assert.equal(read(undefined), undefined);
});

test("the server's client does not run in a browser", () => {
  globalThis.document = {};
  try {
    assert.throws(() => createServerClient(visitor), /must not run in a browser/);
  } finally {
    delete globalThis.document;
  }
});

test("answers are not cached by Next.js, and the visitor's language goes along", async () => {
  let seen;
  const server = createServerClient({
    ...visitor,
    acceptLanguage: "de",
    fetch: (input, init) => {
      seen = init;
      return fetch(input, init);
    },
  });

  await server.call("POST", "/api/auth/password-reset/request", { body: { email: person().email } });

  assert.equal(seen.cache, "no-store");
  assert.equal(seen.headers["Accept-Language"], "de");
});
