import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, test } from "node:test";
import { createClient, GatehouseError, isGatehouseError } from "../dist/index.js";
import { eventsOf, person, recording, url } from "./system.mjs";

// A real system cannot answer 429 or 503 on demand. These answers come one after the other.
let answers = [];
let received = [];
const server = createServer((request, response) => {
  received.push({ method: request.method, path: request.url, at: Date.now() });
  const { status = 200, headers = {}, body = {} } = answers.shift() ?? {};
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}).listen(0, "127.0.0.1");
await once(server, "listening");
after(() => server.close());
const fake = `http://127.0.0.1:${server.address().port}`;

const USER = { id: "01JDV3M9XG4T8WZ5K2N7Q6R1YC", email: "ada@example.com" };
const SIGN_IN = { body: { success: true, user: USER, accessToken: "a", refreshToken: "r", expiresIn: 900, refreshExpiresIn: 9000 } };
const failure = (status, error, retryAfter, fields = {}) => ({
  status,
  headers: { "Retry-After": String(retryAfter) },
  body: { success: false, error, message: "…", docs: `/errors/${error}`, requestId: "id", retryAfter, ...fields },
});

/** A client that is signed in at the fake server, which then gives `next`. */
async function signedIn(...next) {
  answers = [SIGN_IN];
  const client = createClient({ url: fake });
  await client.login({ identifier: "ada", password: "x" });
  received = [];
  answers = next;
  return client;
}

test("invalid fields come with their codes and parameters", async () => {
  const client = createClient({ url });

  const error = await client.register({ ...person(), email: "no address", password: "short" }).catch((error) => error);

  assert.ok(error instanceof GatehouseError);
  assert.ok(isGatehouseError(error, "validation_failed"));
  assert.ok(!isGatehouseError(error, "not_found"));
  assert.ok(!isGatehouseError(new Error("x")));
  assert.equal(error.status, 400);
  assert.match(error.requestId, /\S/);
  assert.equal(error.docs, `${url}/errors/validation_failed`);
  assert.ok(error.details.some((detail) => detail.field === "email" && detail.code === "invalid_email"));
  const tooShort = error.details.find((detail) => detail.code === "too_short");
  assert.deepEqual([tooShort.field, tooShort.params], ["password", { min: 8 }]);
});

test("a taken name is a conflict", async () => {
  const fields = person();
  await createClient({ url }).register(fields);

  await assert.rejects(createClient({ url }).register(fields), { code: "email_taken", status: 409 });
});

test("a wrong password of a signed-in user neither refreshes nor signs out", async () => {
  const fetch = recording();
  const client = createClient({ url, fetch });
  await client.register(person());

  const change = client.changePassword({ currentPassword: "Wrong-7-horse", newPassword: "Battery-8-staple" });

  await assert.rejects(change, { code: "invalid_credentials", status: 403 });
  assert.equal(fetch.count("/api/auth/refresh"), 0);
  assert.equal(client.state.status, "signedIn");
});

test("a GET waits as long as the limit says, and is repeated", async () => {
  const client = await signedIn(failure(429, "rate_limited", 1, { limit: "profile" }), { body: { success: true, user: USER } });

  const { user } = await client.profile.get();

  assert.deepEqual(user, USER);
  assert.equal(received.length, 2);
  assert.ok(received[1].at - received[0].at >= 1000, "it waits for a second");
});

test("a GET is repeated twice at most", async () => {
  const client = await signedIn(...Array(5).fill(failure(503, "service_unavailable", 0)));

  await assert.rejects(client.profile.get(), { code: "service_unavailable", status: 503, retryAfter: 0 });

  assert.equal(received.length, 3);
  assert.equal(client.state.status, "signedIn");
});

test("a long wait is the caller's: the error says how long", async () => {
  const client = await signedIn(failure(429, "rate_limited", 60, { limit: "profile" }));

  await assert.rejects(client.profile.get(), { code: "rate_limited", retryAfter: 60, limit: "profile" });

  assert.equal(received.length, 1);
});

test("nothing but a GET is repeated after 429 and 503", async () => {
  const client = await signedIn(failure(503, "service_unavailable", 0), failure(429, "rate_limited", 0), failure(429, "account_locked", 0, { limit: "login-lockout" }));

  await assert.rejects(client.profile.update({ name: "Ada" }), { code: "service_unavailable" });
  await assert.rejects(client.changePassword({ currentPassword: "a", newPassword: "b" }), { code: "rate_limited" });
  await assert.rejects(client.login({ identifier: "ada", password: "x" }), { code: "account_locked", limit: "login-lockout" });

  assert.equal(received.length, 3);
});

test("a refresh is repeated after 503, and no limit or outage signs anybody out", async () => {
  const renewed = { body: { success: true, accessToken: "a2", refreshToken: "r2", expiresIn: 900, refreshExpiresIn: 9000 } };
  const client = await signedIn(failure(503, "service_unavailable", 0), failure(429, "rate_limited", 0), renewed);
  const events = eventsOf(client);

  await client.refresh();
  assert.deepEqual(received.map((request) => request.path), Array(3).fill("/api/auth/refresh"));
  for (const status of [429, 500, 502, 503]) {
    answers = Array(3).fill({ status, headers: { "Retry-After": "0" }, body: "gateway" });
    await assert.rejects(client.refresh());
  }

  assert.deepEqual(events.map((event) => event.type), ["refreshed"]);
  assert.equal(client.state.status, "signedIn");
});

test("a refresh gives up before the replaced token would look stolen", async () => {
  const client = await signedIn(failure(503, "service_unavailable", 10));

  await assert.rejects(client.refresh(), { code: "service_unavailable", retryAfter: 10 });

  assert.equal(received.length, 1);
});

test("answers of API Gateway and proxies get a code", async () => {
  const gateway = [
    [429, { "Retry-After": "60" }, { message: "Too Many Requests" }, "rate_limited", 60],
    [404, {}, { message: "Not Found" }, "not_found", undefined],
    [403, {}, { message: "Forbidden" }, "forbidden", undefined],
    [413, {}, { message: "Request Entity Too Large" }, "payload_too_large", undefined],
    [500, {}, { message: "Internal Server Error" }, "internal_error", undefined],
    [503, { "Retry-After": new Date(Date.now() + 30_000).toUTCString() }, { message: "Service Unavailable" }, "service_unavailable", 30],
    [504, { "Content-Type": "text/html" }, "<h1>Gateway Timeout</h1>", "service_unavailable", undefined],
    [302, { Location: "https://portal.example" }, "", "network_error", undefined],
    [418, {}, "", "invalid_response", undefined],
    [200, { "Content-Type": "text/html" }, "<h1>Welcome to the hotel</h1>", "invalid_response", undefined],
  ];
  for (const [status, headers, body, code, retryAfter] of gateway) {
    answers = [{ status, headers, body }];

    const error = await createClient({ url: fake }).login({ identifier: "ada", password: "x" }).catch((error) => error);

    assert.equal(error.code, code, `${status}`);
    assert.equal(error.status, code === "network_error" ? 0 : status);
    assert.ok(error.retryAfter === retryAfter || Math.abs(error.retryAfter - retryAfter) <= 1, `${status}: ${error.retryAfter}`);
    assert.deepEqual(error.details, []);
  }
});

test("without an answer the error says so", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const address = `http://127.0.0.1:${silent.address().port}`;

  const start = Date.now();
  await assert.rejects(createClient({ url: address, timeout: 100 }).login({ identifier: "a", password: "b" }), { code: "timeout", status: 0 });
  assert.ok(Date.now() - start < 2000);
  silent.closeAllConnections();
  silent.close();
  await once(silent, "close");
  await assert.rejects(createClient({ url: address }).login({ identifier: "a", password: "b" }), (error) => {
    assert.ok(isGatehouseError(error, "network_error"));
    return error.cause instanceof TypeError;
  });
});

test("a caller's signal ends the wait with its reason", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const client = createClient({ url: `http://127.0.0.1:${silent.address().port}` });
  const reason = new Error("the user has left the page");

  await assert.rejects(client.login({ identifier: "a", password: "b" }, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const waiting = client.login({ identifier: "a", password: "b" }, { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 50);
  await assert.rejects(waiting, reason);
  await assert.rejects(client.login({ identifier: "a", password: "b" }, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });

  silent.closeAllConnections();
  silent.close();
});

test("a signal ends the wait for a limit", async () => {
  const client = await signedIn(failure(429, "rate_limited", 9), { body: { success: true, user: USER } });
  const start = Date.now();

  await assert.rejects(client.profile.get({ signal: AbortSignal.timeout(100) }), { name: "TimeoutError" });

  assert.ok(Date.now() - start < 5000);
  assert.equal(received.length, 1);
});

test("a listener's fault breaks neither the operation nor other listeners, and is reported", async (context) => {
  const client = createClient({ url });
  const reports = [];
  const queue = globalThis.queueMicrotask;
  context.mock.method(globalThis, "queueMicrotask", (work) =>
    queue(() => {
      try {
        work();
      } catch (error) {
        reports.push(error.message);
      }
    }),
  );
  client.onAuthStateChange(() => { throw new Error("fault of a listener"); });
  const events = eventsOf(client);

  await client.register(person());

  assert.equal(events.length, 1);
  assert.deepEqual(reports, ["fault of a listener"]);
});
