import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { asyncStore, eventsOf, PASSWORD, person, recording, url, webStorage } from "./system.mjs";

afterEach(() => {
  delete globalThis.localStorage;
  delete globalThis.sessionStorage;
});

test("memory mode stores nothing", async () => {
  globalThis.localStorage = webStorage();
  globalThis.sessionStorage = webStorage();
  const client = createClient({ url });
  await client.register(person());

  assert.equal(await createClient({ url }).session(), null);
  assert.equal(localStorage.values.size + sessionStorage.values.size, 0);
});

for (const storage of ["local", "session"]) {
  test(`${storage} mode restores the session without a request, and a sign-out removes it`, async () => {
    const web = (globalThis[`${storage}Storage`] = webStorage());
    const fields = person();
    const client = createClient({ url, storage });
    await client.register(fields);
    const fetch = recording();
    const reloaded = createClient({ url, storage, fetch });
    const events = eventsOf(reloaded);
    assert.deepEqual(reloaded.state, { status: "loading", user: null });

    const user = await reloaded.session();

    assert.equal(user.email, fields.email);
    assert.deepEqual(events.map((event) => event.type), ["signed_in"]);
    assert.equal(fetch.requests.length, 0);
    await reloaded.logout();
    assert.deepEqual([...web.values.keys()], [`gatehouse:${url}:devices`]);
    assert.equal(await createClient({ url, storage }).session(), null);
  });
}

test("a store of one's own may be asynchronous", async () => {
  const store = asyncStore();
  const client = createClient({ url, storage: store });
  const { user } = await client.register(person());

  const reloaded = createClient({ url, storage: store });

  assert.equal((await reloaded.profile.get()).user.id, user.id);
  await reloaded.refresh();
  assert.equal((await createClient({ url, storage: store }).refresh()).id, user.id);
});

test("a tab uses the tokens that another tab has stored", async () => {
  const store = asyncStore();
  const first = createClient({ url, storage: store });
  await first.register(person());
  const fetch = recording();
  const second = createClient({ url, storage: store, fetch });
  await second.session();
  const events = eventsOf(second);

  await first.refresh();
  await second.refresh();

  assert.equal(fetch.count("/api/auth/refresh"), 0);
  assert.deepEqual(events.map((event) => event.type), ["refreshed"]);
});

test("what another program left in the storage is no session", async () => {
  for (const value of ["", "null", "[]", "{", '{"user":1}', '"text"']) {
    const store = asyncStore(new Map([[`gatehouse:${url}`, value]]));

    assert.equal(await createClient({ url, storage: store }).session(), null);
  }
});

test("a storage that is full does not keep an old refresh token", async () => {
  const web = (globalThis.localStorage = webStorage());
  const client = createClient({ url, storage: "local" });
  await client.register(person());
  web.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };

  await client.refresh();
  await client.refresh();

  assert.equal(web.getItem(`gatehouse:${url}`), null);
  assert.equal(client.state.status, "signedIn");
});

test("a browser that blocks storage keeps the session in memory", async () => {
  Object.defineProperty(globalThis, "localStorage", {
    configurable: true,
    get() { throw new DOMException("blocked", "SecurityError"); },
  });
  const client = createClient({ url, storage: "local" });

  await client.register(person());
  await client.refresh();

  assert.equal(client.state.status, "signedIn");
});

test("each account's device token survives the sign-out and is sent at its next sign-in", async () => {
  const store = asyncStore();
  const fetch = recording();
  const client = createClient({ url, storage: store, fetch });
  const [ada, bob] = [person(), person()];
  await client.register(ada);
  await client.logout();
  await client.register(bob);
  await client.logout();
  const again = createClient({ url, storage: store, fetch });

  await again.login({ identifier: ` ${ada.username.toUpperCase()} `, password: PASSWORD });
  await again.login({ email: ada.email, password: PASSWORD });
  await again.login({ username: bob.username, password: PASSWORD });
  await assert.rejects(again.login({ identifier: person().username, password: PASSWORD }));

  const sent = fetch.requests.filter((request) => request.path === "/api/auth/login").map((request) => request.headers["x-device-token"]);
  assert.ok(sent[0] && sent[2]);
  assert.notEqual(sent[0], sent[2]);
  assert.equal(sent[3], undefined);
  const { devices } = await createSession(ada);
  assert.equal(devices.length, 2, "the device that signed in again is the same device; the other is this check's");
});

async function createSession({ username }) {
  const client = createClient({ url });
  await client.login({ identifier: username, password: PASSWORD });
  return client.sessions.list();
}

test("a new password brings a new device token", async () => {
  const store = asyncStore();
  const client = createClient({ url, storage: store });
  const fields = person();
  await client.register(fields);
  const devices = () => JSON.parse(store.values.get(`gatehouse:${url}:devices`));
  const before = devices();

  await client.changePassword({ currentPassword: PASSWORD, newPassword: "Battery-8-staple" });

  assert.notEqual(devices()[fields.email], before[fields.email]);
});

test("clients with different keys do not share a session", async () => {
  const store = asyncStore();
  await createClient({ url, storage: store, storageKey: "admin" }).register(person());

  assert.equal(await createClient({ url, storage: store }).session(), null);
});
