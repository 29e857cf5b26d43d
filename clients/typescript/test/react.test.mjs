import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { createClient } from "../dist/index.js";
import { GatehouseProvider, useAuth } from "../dist/react.js";
import { person, recording, url } from "./system.mjs";

function Page() {
  const { status, user, client } = useAuth();
  return createElement("p", null, `${status} ${user?.email ?? "nobody"} ${typeof client.login}`);
}

test("a server renders an unknown user and sends no request", async () => {
  const fetch = recording();
  const client = createClient({ url, fetch });

  const html = renderToString(createElement(GatehouseProvider, { client }, createElement(Page)));

  assert.equal(html, "<p>loading nobody function</p>");
  assert.equal(fetch.requests.length, 0);
});

test("a server never renders the user of a client that it shares", async () => {
  const client = createClient({ url });
  await client.register(person());

  const html = renderToString(createElement(GatehouseProvider, { client }, createElement(Page)));

  assert.equal(html, "<p>loading nobody function</p>");
});

test("useAuth without a provider says what is missing", () => {
  assert.throws(() => renderToString(createElement(Page)), /GatehouseProvider/);
});
