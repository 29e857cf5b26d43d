import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../dist/index.js";
import { browserLike, eventsOf, mailedToken, PASSWORD, person, recording, url } from "./system.mjs";

const ORIGIN = "http://localhost:5173";

/** A browser and clients of its tabs, which do not hear each other. */
function browser() {
  const cookies = browserLike(ORIGIN);
  return {
    cookies,
    tab() {
      const fetch = recording(cookies);
      return { fetch, client: createClient({ url, storage: "cookie", fetch }) };
    },
  };
}

test("in cookie mode no script sees the refresh token, and a reload restores the session", async () => {
  const { cookies, tab } = browser();
  const fields = person();
  const first = tab();
  await first.client.register(fields);
  assert.deepEqual([...cookies.jar.keys()].sort(), ["__Host-device", "__Host-refresh_token"]);

  const reloaded = tab();
  const events = eventsOf(reloaded.client);
  const user = await reloaded.client.session();
  await reloaded.client.profile.get();
  await reloaded.client.refresh();

  assert.equal(user.email, fields.email);
  assert.deepEqual(reloaded.fetch.requests.map((request) => `${request.method} ${request.path}`), [
    "POST /api/auth/csrf-token", "POST /api/auth/refresh", "GET /api/auth/profile",
    "GET /api/auth/profile",
    "POST /api/auth/refresh",
  ]);
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "refreshed"]);
});

test("a browser without a session is signed out, and it is no failure", async () => {
  const { tab } = browser();
  const { client, fetch } = tab();

  assert.equal(await client.session(), null);
  assert.equal(client.state.status, "signedOut");
  assert.deepEqual(fetch.requests.map((request) => request.path), ["/api/auth/csrf-token"]);
});

test("a sign-out ends the session and removes the cookie, but not the device's", async () => {
  const { cookies, tab } = browser();
  const fields = person();
  const { client } = tab();
  await client.register(fields);

  await client.logout();

  assert.deepEqual([...cookies.jar.keys()], ["__Host-device"]);
  assert.equal(await tab().client.session(), null);
  await client.login({ identifier: fields.username, password: PASSWORD });
  assert.equal((await client.sessions.list()).devices.length, 1);
});

test("a tab that has another user's CSRF token gets the present one, and shows the present user", async () => {
  const { tab } = browser();
  const [ada, bob] = [person(), person()];
  const first = tab();
  const events = eventsOf(first.client);
  await first.client.register(ada);
  await tab().client.register(bob);

  await first.client.refresh();

  assert.equal(first.client.user.email, bob.email);
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "signed_in"]);
  assert.deepEqual(
    first.fetch.requests.slice(1).map((request) => [request.path, request.status]),
    [["/api/auth/refresh", 403], ["/api/auth/csrf-token", 200], ["/api/auth/refresh", 200], ["/api/auth/profile", 200]],
  );
});

test("an outage at a reload signs nobody out, and the next try restores the session", async () => {
  const { cookies, tab } = browser();
  await tab().client.register(person());
  let isOffline = true;
  const client = createClient({
    url,
    storage: "cookie",
    fetch: (input, init) => {
      if (isOffline) throw new TypeError("no network");
      return cookies(input, init);
    },
  });

  await assert.rejects(client.session(), { code: "network_error" });
  assert.equal(client.state.status, "loading");
  assert.equal(client.state.error.code, "network_error");
  isOffline = false;

  assert.ok(await client.session());
  assert.equal(client.state.status, "signedIn");
});

test("a lost answer to a refresh is repeated in cookie mode too", async () => {
  const { cookies, tab } = browser();
  await tab().client.register(person());
  let losses = 1;
  const fetch = recording(async (input, init) => {
    const before = new Map(cookies.jar);
    const response = await cookies(input, init);
    if (String(input).endsWith("/refresh") && losses-- > 0) {
      cookies.jar.clear();
      for (const [name, value] of before) cookies.jar.set(name, value);
      throw new TypeError("the connection broke, and with it the cookie");
    }
    return response;
  });
  const client = createClient({ url, storage: "cookie", fetch });

  assert.ok(await client.session());
  assert.equal(fetch.count("/api/auth/refresh"), 2);
});

test("the device's cookie proves who verifies an address", async () => {
  const { tab } = browser();
  const fields = person();
  const { client } = tab();
  await client.register(fields);
  await client.logout();

  await client.verifyEmail({ token: await mailedToken(fields.email, "verify-email") });

  assert.equal((await client.login({ email: fields.email, password: PASSWORD })).emailVerified, true);
});
