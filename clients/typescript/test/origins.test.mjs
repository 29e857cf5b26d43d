import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { person, url } from "./system.mjs";

afterEach(() => delete globalThis.location);

/** A signed-in client, and the `Authorization` of its last request, which goes nowhere. */
async function signedIn(options) {
  let isSignedIn = false;
  let last;
  const client = createClient({
    url,
    ...options,
    fetch: async (input, init) => {
      if (!isSignedIn) return fetch(input, init);
      last = new Headers(init?.headers ?? input.headers).get("authorization");
      return new Response("{}", { status: last ? 200 : 401 });
    },
  });
  await client.register(person());
  isSignedIn = true;
  return async (input, init) => {
    last = undefined;
    const response = await client.fetch(input, init);
    return [last, response.status];
  };
}

test("only the page's origin and the API's get the token by default", async () => {
  globalThis.location = { origin: "https://app.example.com", href: "https://app.example.com/page" };
  const send = await signedIn();

  for (const own of ["/api/orders", "https://app.example.com/x", new URL("https://app.example.com"), new Request("https://app.example.com/"), `${url}/api/auth/profile`]) {
    assert.match((await send(own))[0], /^Bearer ey/, String(own));
  }
  for (const foreign of [
    "https://example.com/", "http://app.example.com/", "https://app.example.com:8443/", "https://app.example.com.evil.example/",
    "https://app.example.com@evil.example/", "//evil.example/x", new URL("https://evil.example"), new Request("https://evil.example/"), "data:,x",
  ]) {
    assert.deepEqual(await send(foreign), [null, 401], String(foreign));
  }
});

test("with apis only these origins get the token", async () => {
  globalThis.location = { origin: "https://app.example.com", href: "https://app.example.com/page" };
  const send = await signedIn({ apis: ["https://api.example.com/v1/"] });

  assert.match((await send("https://api.example.com/v2/orders"))[0], /^Bearer ey/);
  assert.deepEqual(await send("/api/orders"), [null, 401]);
  assert.deepEqual(await send(`${url}/api/auth/profile`), [null, 401]);
});

test("a page without an origin gives the token to no other such page", async () => {
  globalThis.location = { origin: "null", href: "about:srcdoc" };
  const send = await signedIn();

  assert.deepEqual(await send("data:,x"), [null, 401]);
  assert.deepEqual(await send("file:///etc/hosts"), [null, 401]);
});

test("an Authorization header of the caller is kept", async () => {
  const send = await signedIn({ apis: ["https://api.example.com"] });

  assert.deepEqual(await send("https://api.example.com/", { headers: { Authorization: "Basic eDp5" } }), ["Basic eDp5", 200]);
});

test("an address that is none is refused at once", () => {
  assert.throws(() => createClient({ url: "localhost" }), TypeError);
  assert.throws(() => createClient({ url, apis: ["api.example.com"] }), TypeError);
});
