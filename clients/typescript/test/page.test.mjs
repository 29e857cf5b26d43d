// The page of examples/page, used as a person would, in headless Chromium.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { build } from "esbuild";
import { person, sleep, totp, url } from "./system.mjs";
import { skip, startDriver } from "./webdriver.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
// Page and API have one host name, as cookies need.
const api = url.replace("127.0.0.1", "localhost");

describe("the example page", { skip }, () => {
  let driver;
  let session;
  let script;
  const html = readFileSync(here("../../../examples/page/index.html"));
  const server = createServer((request, response) => {
    const isScript = request.url === "/main.js";
    response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
    response.end(isScript ? script : html);
  });

  before(async () => {
    const bundle = { entryPoints: [here("../../../examples/page/main.js")], bundle: true, format: "esm", write: false };
    const made = await build({ ...bundle, alias: { "@gatehouse/client": here("../dist/index.js") } });
    script = made.outputFiles[0].contents;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    driver = await startDriver();
  });

  after(() => {
    driver?.stop();
    server.close();
    server.closeAllConnections();
  });

  const run = (work, ...args) =>
    driver.command("POST", `${session}/execute/sync`, { script: `return (${work})(...arguments)`, args });
  const click = (selector) => run((selector) => document.querySelector(selector).click(), selector);
  const type = (form, fields) =>
    run((form, fields) => {
      for (const [name, value] of Object.entries(fields)) document.querySelector(`#${form} [name=${name}]`).value = value;
    }, form, fields);
  const text = (id) => run((id) => document.getElementById(id).textContent, id);

  /** Waits until an element's text has the expected part, and returns the text. */
  async function waitFor(id, part) {
    let last;
    for (const end = Date.now() + 10_000; Date.now() < end; await sleep(30)) {
      last = await text(id);
      if (last.includes(part)) return last;
    }
    assert.fail(`#${id} is ${JSON.stringify(last)}, not ${JSON.stringify(part)}`);
  }

  for (const storage of ["local", "cookie"]) {
    test(`${storage}: from the registration to a sign-out, with a second factor`, async () => {
      session = await driver.newBrowser();
      const { email, password } = person();
      const address = `http://localhost:${server.address().port}/?storage=${storage}&api=${encodeURIComponent(api)}`;
      await driver.command("POST", `${session}/url`, { url: address });
      await waitFor("who", "Nobody is signed in");

      await type("login", { email, password: "short" });
      await click("#login [name=register]");
      await waitFor("result", "password must");
      await type("login", { email, password });
      await click("#login [name=register]");
      await waitFor("who", `Hello ${email}`);
      await type("profile", { name: "Ada" });
      await click("#profile button");
      await waitFor("who", "Hello Ada");
      await click("#sessions");
      await waitFor("result", "HeadlessChrome");
      await driver.command("POST", `${session}/refresh`, {});
      await waitFor("who", "Hello Ada");

      await click("#setup");
      const link = await waitForLink();
      const secret = new URL(link).searchParams.get("secret");
      await type("verify", { token: totp(secret) });
      await click("#verify button");
      const codes = (await waitFor("result", "Keep these")).split("\n").slice(1);
      assert.equal(codes.length, 10);

      await click("#logout");
      await waitFor("who", "Nobody is signed in");
      await type("login", { email, password });
      await click("#login button:not([name])");
      await waitFor("result", "code");
      assert.equal(await run(() => document.getElementById("code").hidden), false);
      await type("login", { twoFactorToken: totp(secret, 1) }); // the present one was used
      await click("#login button:not([name])");
      await waitFor("who", "Hello Ada");
      await click("#logout");
      await waitFor("who", "Nobody is signed in");
      await driver.command("DELETE", session);
    });
  }

  async function waitForLink() {
    for (const end = Date.now() + 10_000; Date.now() < end; await sleep(30)) {
      const link = await run(() => document.getElementById("app").href);
      if (link.startsWith("otpauth:")) return link;
    }
    return assert.fail("no link for the app");
  }
});
