import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, describe, test } from "node:test";
import { build } from "esbuild";
import { person, shortUrl, sleep, url } from "./system.mjs";
import { skip, startDriver } from "./webdriver.mjs";

const EXPIRED = 2100;

// Page and API have one host name, as cookies need.
const [api, shortApi] = [url, shortUrl].map((address) => address.replace("127.0.0.1", "localhost"));

describe("in Chromium", { skip }, () => {
  let driver;
  let session;
  let address;
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
    response.end(isScript ? script : "<!doctype html><title>test</title><body><script src=/page.js></script></body>");
  });
  let script;

  const command = (...request) => driver.command(...request);

  /** A tab with the page. `run` runs a function in it. */
  function tabOf(handle, prepare = () => {}) {
    return {
      handle,
      async run(work, ...args) {
        await command("POST", `${session}/window`, { handle });
        const answer = await command("POST", `${session}/execute/async`, {
          script: `const [args, done] = [arguments[0], arguments[1]];
            (async () => (${work})(...args))().then((value) => done({ value }), (error) => done({ error: String(error.stack) }));`,
          args: [args],
        });
        if (answer.error) throw new Error(answer.error);
        return answer.value;
      },
      async load() {
        await command("POST", `${session}/window`, { handle });
        await command("POST", `${session}/url`, { url: address });
        await this.run(prepare);
        return this;
      },
    };
  }

  /** A tab that the page opens itself: it starts with a copy of `sessionStorage`. */
  async function duplicate(tab, prepare) {
    const before = await command("GET", `${session}/window/handles`);
    await tab.run(() => void window.open(location.href));
    const handle = (await command("GET", `${session}/window/handles`)).find((handle) => !before.includes(handle));
    return tabOf(handle, prepare).load();
  }

  /** Lets messages come late, as on a busy machine: after the lock of the tab that sent them is free. */
  function lateMessages() {
    globalThis.delay = 0;
    globalThis.BroadcastChannel = class extends BroadcastChannel {
      set onmessage(listener) {
        super.onmessage = (event) => setTimeout(() => listener(event), globalThis.delay);
      }
    };
  }

  const newTab = async (prepare) => tabOf((await command("POST", `${session}/window/new`, { type: "tab" })).handle, prepare).load();
  const start = (tab, options) => tab.run((options) => page.start(options), options);
  const register = (tab, fields) => tab.run(async (fields) => (await page.client.register(fields)).user.id, fields);
  const state = (tab) => tab.run(async () => [page.client.state.status, page.client.user?.email ?? null]);

  /** Waits until `read` gives what is wanted: messages between tabs take a moment. */
  async function eventually(read, wanted) {
    let last;
    for (const end = Date.now() + 5000; Date.now() < end; await sleep(30)) {
      last = await read();
      if (JSON.stringify(last) === JSON.stringify(wanted)) return;
    }
    assert.deepEqual(last, wanted);
  }

  before(async () => {
    script = (
      await build({
        entryPoints: [fileURLToPath(new URL("browser/page.mjs", import.meta.url))],
        bundle: true,
        write: false,
        define: { "process.env.NODE_ENV": '"production"' },
      })
    ).outputFiles[0].contents;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    address = `http://localhost:${server.address().port}/`;
    driver = await startDriver();
  });

  /** Each test has a browser of its own, without storage and cookies of the others. */
  async function newBrowser() {
    session = await driver.newBrowser();
  }

  afterEach(async () => {
    if (session) await command("DELETE", session);
    session = undefined;
  });

  after(() => {
    driver?.stop();
    server.close();
    server.closeAllConnections();
  });

  for (const storage of ["memory", "session", "local", "cookie"]) {
    test(`${storage}: twenty parallel requests at expiry make one refresh`, async () => {
      await newBrowser();
      const tab = await newTab();
      const fields = person();
      await start(tab, { url: shortApi, storage });
      await register(tab, fields);
      await sleep(EXPIRED);

      await tab.run(() => page.requestMany(20));

      assert.deepEqual(await tab.run(() => page.results()), Array(20).fill(fields.email));
      assert.equal(await tab.run(() => page.refreshes()), 1);
    });
  }

  for (const storage of ["memory", "session", "local", "cookie"]) {
    test(`${storage}: two tabs at expiry make one refresh together`, async () => {
      await newBrowser();
      const first = await newTab();
      const fields = person();
      await start(first, { url: api, storage });
      await register(first, fields);
      const second = storage === "session" ? await duplicate(first, lateMessages) : await newTab(lateMessages);
      await start(second, { url: api, storage });
      await second.run(() => page.client.session());
      assert.deepEqual(await state(second), ["signedIn", fields.email]);
      for (const tab of [first, second]) await tab.run(() => { page.forget(); page.closeGate(); page.passTime(3_600_000); });

      for (const tab of [first, second]) await tab.run(() => page.requestMany(20));
      await second.run(() => void (globalThis.delay = 300));
      // Both wait now: one at its gate with the lock, the other for the lock.
      await sleep(300);
      for (const tab of [first, second]) await tab.run(() => page.openGate());

      for (const tab of [first, second]) assert.deepEqual(await tab.run(() => page.results()), Array(20).fill(fields.email));
      assert.equal((await first.run(() => page.refreshes())) + (await second.run(() => page.refreshes())), 1);
    });
  }

  test("without Web Locks two tabs may refresh at once, and both stay signed in", async () => {
    await newBrowser();
    const withoutLocks = () => void Object.defineProperty(navigator, "locks", { value: undefined });
    const first = await newTab(withoutLocks);
    const fields = person();
    await start(first, { url: api, storage: "local" });
    await register(first, fields);
    const second = await newTab(withoutLocks);
    await start(second, { url: api, storage: "local" });
    await second.run(() => page.client.session());
    for (const tab of [first, second]) await tab.run(() => { page.forget(); page.closeGate(); page.passTime(3_600_000); });

    for (const tab of [first, second]) await tab.run(() => page.requestMany(5));
    await sleep(100);
    for (const tab of [first, second]) await tab.run(() => page.openGate());

    for (const tab of [first, second]) assert.deepEqual(await tab.run(() => page.results()), Array(5).fill(fields.email));
    for (const tab of [first, second]) assert.equal(await tab.run(() => page.refreshes()), 1);
    for (const tab of [first, second]) assert.equal(await tab.run(async () => (await page.client.refresh()).email), fields.email);
  });

  test("a tab does not wait for ever for the lock of a frozen tab", async () => {
    await newBrowser();
    const first = await newTab();
    const fields = person();
    await start(first, { url: api, storage: "local" });
    await register(first, fields);
    const second = await newTab();
    await second.run((name) => void navigator.locks.request(name, () => new Promise(() => {})), `gatehouse:${api}`);

    const [email, waited] = await first.run(async () => {
      const start = performance.now();
      return [(await page.client.refresh()).email, performance.now() - start];
    });

    assert.equal(email, fields.email);
    assert.ok(waited > 10_000 && waited < 20_000, `${waited} ms`);
  });

  for (const storage of ["memory", "local", "cookie"]) {
    test(`${storage}: a sign-out in one tab signs out the other, a sign-in signs it in`, async () => {
      await newBrowser();
      const [first, second] = [await newTab(), await newTab()];
      for (const tab of [first, second]) await start(tab, { url: api, storage });
      const [ada, bob] = [person(), person()];

      await register(first, ada);
      await eventually(() => state(second), ["signedIn", ada.email]);
      await second.run(() => page.client.profile.update({ name: "Ada" }));
      await eventually(() => first.run(() => page.client.user.name), "Ada");
      await second.run(() => page.client.logout());
      await eventually(() => state(first), ["signedOut", null]);
      await register(second, bob);
      await eventually(() => state(first), ["signedIn", bob.email]);

      assert.deepEqual(await first.run(() => page.events), ["signed_in", "user_updated", "signed_out", "signed_in"]);
      assert.deepEqual(await second.run(() => page.events), ["signed_in", "user_updated", "signed_out", "signed_in"]);
    });
  }

  test("session: each tab has a session of its own", async () => {
    await newBrowser();
    const [first, second] = [await newTab(), await newTab()];
    for (const tab of [first, second]) await start(tab, { url: api, storage: "session" });
    const [ada, bob] = [person(), person()];
    await register(first, ada);
    await register(second, bob);

    await second.run(() => page.client.logout());
    await sleep(300);

    assert.deepEqual(await state(first), ["signedIn", ada.email]);
    assert.deepEqual(await state(second), ["signedOut", null]);
  });

  test("without BroadcastChannel the storage tells of a sign-out", async () => {
    await newBrowser();
    const withoutChannel = () => void delete globalThis.BroadcastChannel;
    const [first, second] = [await newTab(withoutChannel), await newTab(withoutChannel)];
    for (const tab of [first, second]) await start(tab, { url: api, storage: "local" });
    const fields = person();

    await register(first, fields);
    await eventually(() => state(second), ["signedIn", fields.email]);
    await first.run(() => page.client.logout());

    await eventually(() => state(second), ["signedOut", null]);
  });

  test("the session survives a reload in cookie and local mode", async () => {
    await newBrowser();
    for (const storage of ["local", "cookie"]) {
      const tab = await newTab();
      const fields = person();
      await start(tab, { url: api, storage });
      await register(tab, fields);

      await tab.load();
      await start(tab, { url: api, storage });

      assert.equal(await tab.run(async () => (await page.client.session()).email), fields.email);
      // In cookie mode the page's scripts have no way to the refresh token.
      if (storage === "cookie") assert.equal(await tab.run(() => document.cookie), "");
    }
  });

  test("useAuth renders what happens in this tab and in another one", async () => {
    await newBrowser();
    const [first, second] = [await newTab(), await newTab()];
    for (const tab of [first, second]) await start(tab, { url: api, storage: "local" });
    const text = () => first.run(() => document.querySelector("#who")?.textContent);

    await first.run(() => page.renderReact());
    await eventually(text, "signedOut nobody");
    await register(first, { ...person(), name: "Ada" });
    await eventually(text, "signedIn Ada");
    await second.run(() => page.client.profile.update({ name: "Ada L." }));
    await eventually(text, "signedIn Ada L.");
    await second.run(() => page.client.logout());
    await eventually(text, "signedOut nobody");
  });
});
