// A headless Chromium for tests, by WebDriver (W3C).
import { spawn, spawnSync } from "node:child_process";

const hasDriver = spawnSync("chromedriver", ["--version"]).status === 0;
/** Why browser tests are left out, or false. Where tests must not be left out, a missing browser is a failure. */
export const skip = hasDriver || process.env.CI === "true" ? false : "chromedriver is not installed: no browser test ran";

/** Starts the driver. */
export async function startDriver() {
  const child = spawn("chromedriver", ["--port=0"]);
  // The test runner ends a file that takes too long; the driver and its browser must not outlive it.
  process.once("SIGTERM", () => {
    child.kill();
    process.exit(1);
  });
  const address = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.stdout.on("data", (data) => {
      const port = /successfully on port (\d+)/.exec(String(data))?.[1];
      if (port) resolve(`http://127.0.0.1:${port}`);
    });
  });

  /** One command, such as `("POST", "/session/…/url", { url })`. */
  async function command(method, path, body) {
    const response = await fetch(`${address}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }

  /** A browser without storage and cookies of others; returns the path of its session. */
  async function newBrowser() {
    const args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
    const { sessionId } = await command("POST", "/session", { capabilities: { alwaysMatch: { "goog:chromeOptions": { args } } } });
    return `/session/${sessionId}`;
  }

  return { command, newBrowser, stop: () => child.kill() };
}
