import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { createClient } from "../dist/index.js";
import { asyncStore, eventsOf, person, recording, shortUrl, sleep, url } from "./system.mjs";

const REFRESH = "/api/auth/refresh";
const EXPIRED = 2100;

/** Changes the session that a store keeps, as time or another tab would. */
function edit(store, change) {
  const [key] = [...store.values.keys()].filter((key) => !key.endsWith(":devices"));
  store.values.set(key, JSON.stringify({ ...JSON.parse(store.values.get(key)), ...change }));
}

test("twenty parallel requests after expiry make one refresh", async () => {
  const fetch = recording();
  const client = createClient({ url: shortUrl, fetch });
  const events = eventsOf(client);
  await client.register(person());
  await sleep(EXPIRED);

  await Promise.all(Array.from({ length: 20 }, () => client.profile.get()));

  assert.equal(fetch.count(REFRESH), 1);
  assert.equal(fetch.count("/api/auth/profile"), 20, "the client knows that the token has expired");
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "refreshed"]);
});

test("twenty parallel requests that the API answers token_expired make one refresh", async () => {
  const fetch = recording();
  const store = asyncStore();
  const first = createClient({ url: shortUrl, storage: store });
  await first.register(person());
  // This client believes that the token lives for an hour.
  edit(store, { expiresAt: Date.now() + 3_600_000, renewAt: Date.now() + 3_600_000 });
  const client = createClient({ url: shortUrl, storage: store, fetch });
  await sleep(EXPIRED);

  await Promise.all(Array.from({ length: 20 }, () => client.profile.get()));

  assert.equal(fetch.count(REFRESH), 1);
  assert.equal(fetch.requests.filter((request) => request.status === 401).length, 20);
  assert.equal(fetch.count("/api/auth/profile"), 40);
});

test("twenty parallel requests to an API of one's own make one refresh, and keep their bodies", async (context) => {
  const fetch = recording();
  const store = asyncStore();
  await createClient({ url: shortUrl, storage: store }).register(person());
  edit(store, { expiresAt: Date.now() + 3_600_000, renewAt: Date.now() + 3_600_000 });
  const stale = JSON.parse([...store.values.values()].find((value) => value.includes("accessToken"))).accessToken;
  const bodies = [];
  const api = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    bodies.push(body);
    response.writeHead(request.headers.authorization === `Bearer ${stale}` ? 401 : 200).end("{}");
  }).listen(0, "127.0.0.1");
  context.after(() => api.close());
  await once(api, "listening");
  const address = `http://127.0.0.1:${api.address().port}`;
  const client = createClient({ url: shortUrl, storage: store, fetch, apis: [address] });

  const responses = await Promise.all(
    Array.from({ length: 20 }, (_, n) => {
      const init = { method: "POST", body: `order ${n}` };
      return n % 2 ? client.fetch(`${address}/orders`, init) : client.fetch(new Request(`${address}/orders`, init));
    }),
  );

  assert.deepEqual(responses.map((response) => response.status), Array(20).fill(200));
  assert.equal(fetch.count(REFRESH), 1);
  assert.deepEqual(new Set(bodies), new Set(Array.from({ length: 20 }, (_, n) => `order ${n}`)));
  assert.equal(bodies.length, 40);
});

test("a token is refreshed shortly before it expires", async () => {
  const fetch = recording();
  const store = asyncStore();
  await createClient({ url, storage: store }).register(person());
  edit(store, { expiresAt: Date.now() + 20_000, renewAt: Date.now() - 1 });
  const client = createClient({ url, storage: store, fetch });

  await client.profile.get();
  await client.profile.get();

  assert.deepEqual(fetch.requests.map((request) => request.path), [REFRESH, "/api/auth/profile", "/api/auth/profile"]);
});

test("an early refresh that fails does not stop the request: the old token still does", async () => {
  const store = asyncStore();
  await createClient({ url, storage: store }).register(person());
  edit(store, { expiresAt: Date.now() + 60_000, renewAt: Date.now() - 1 });
  const fetch = recording((input, init) => {
    if (String(input).endsWith(REFRESH)) throw new TypeError("no network");
    return globalThis.fetch(input, init);
  });
  const client = createClient({ url, storage: store, fetch });

  await client.profile.get();

  assert.equal(fetch.count(REFRESH), 3);
});

test("a lost answer to a refresh is repeated with the same token", async () => {
  const bodies = [];
  let losses = 2;
  const fetch = recording(async (input, init) => {
    const response = await globalThis.fetch(input, init);
    if (String(input).endsWith(REFRESH)) {
      bodies.push(init.body);
      if (losses-- > 0) throw new TypeError("the connection broke after the server had answered");
    }
    return response;
  });
  const client = createClient({ url, fetch });
  const events = eventsOf(client);
  await client.register(person());

  await client.refresh();
  await client.profile.get();
  await client.refresh();

  assert.equal(bodies.length, 4);
  assert.equal(new Set(bodies.slice(0, 3)).size, 1);
  assert.notEqual(bodies[3], bodies[2]);
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "refreshed", "refreshed"]);
});

test("a refresh without network keeps the session", async () => {
  let isOffline = false;
  const fetch = recording((input, init) => {
    if (isOffline) throw new TypeError("no network");
    return globalThis.fetch(input, init);
  });
  const client = createClient({ url: shortUrl, fetch });
  const events = eventsOf(client);
  await client.register(person());
  await sleep(EXPIRED);

  isOffline = true;
  await assert.rejects(client.profile.get(), { code: "network_error" });
  assert.equal(client.state.status, "signedIn");
  isOffline = false;
  await client.profile.get();

  assert.deepEqual(events.map((event) => event.type), ["signed_in", "refreshed"]);
});

test("a session that has ended signs out once, with the reason", async () => {
  const fields = person();
  const client = createClient({ url });
  await client.register(fields);
  const other = createClient({ url });
  await other.login({ identifier: fields.username, password: fields.password });
  const events = eventsOf(client);
  await other.sessions.revokeOthers();

  const results = await Promise.allSettled([client.refresh(), client.refresh()]);

  assert.deepEqual(results.map((result) => result.reason.code), ["refresh_token_invalid", "refresh_token_invalid"]);
  assert.deepEqual(events, [{ type: "signed_out", reason: "refresh_token_invalid" }]);
  await assert.rejects(client.refresh(), { code: "missing_token" });
  assert.equal(await client.accessToken(), undefined);
});

/** A fetch that holds the answer to a refresh back until `release` is called. */
function holdingRefresh() {
  let release;
  const fetch = recording(async (input, init) => {
    const response = await globalThis.fetch(input, init);
    if (String(input).endsWith(REFRESH)) await new Promise((resolve) => (release = resolve));
    return response;
  });
  return { fetch, isHeld: () => release !== undefined, release: () => release() };
}

test("a sign-out during a refresh wins", async () => {
  const { fetch, isHeld, release } = holdingRefresh();
  const client = createClient({ url, fetch });
  const events = eventsOf(client);
  await client.register(person());

  const refresh = client.refresh();
  while (!isHeld()) await sleep(5);
  await client.logout();
  release();

  await assert.rejects(refresh, { code: "missing_token" });
  assert.equal(client.user, null);
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "signed_out"]);
});

test("the end of an old session does not end the new one", async () => {
  const fields = person();
  const { fetch, isHeld, release } = holdingRefresh();
  const client = createClient({ url, fetch });
  await client.register(fields);
  const other = createClient({ url });
  await other.login({ identifier: fields.username, password: fields.password });
  await other.sessions.revokeOthers();

  const refresh = client.refresh();
  while (!isHeld()) await sleep(5);
  await client.login({ identifier: fields.username, password: fields.password });
  release();

  await assert.rejects(refresh, { code: "refresh_token_invalid" });
  assert.equal(client.state.status, "signedIn");
  await client.profile.get();
});

test("one caller's abort does not stop the refresh of the others", async () => {
  const fetch = recording(async (input, init) => {
    if (String(input).endsWith(REFRESH)) await sleep(200);
    return globalThis.fetch(input, init);
  });
  const client = createClient({ url: shortUrl, fetch });
  await client.register(person());
  await sleep(EXPIRED);

  const impatient = client.profile.get({ signal: AbortSignal.timeout(50) });
  const patient = client.profile.get();

  await assert.rejects(impatient, { name: "TimeoutError" });
  assert.equal(fetch.requests.find((request) => request.path === REFRESH).status, undefined, "the refresh still runs");
  await patient;
  assert.equal(fetch.count(REFRESH), 1);
});
