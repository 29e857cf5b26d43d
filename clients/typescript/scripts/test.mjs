// Runs the tests. Starts the two systems that they need, unless GATEHOUSE_URL and GATEHOUSE_SHORT_URL name running ones.
// GATEHOUSE_LOCAL is the program of `cargo local`; its functions must be built.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PROXY_SECRET = "a-secret-of-the-proxy-with-32-bytes-or-more";
const SERVICE = { id: "tests", secret: "a-secret-of-the-service-of-the-tests" };

const root = fileURLToPath(new URL("../../..", import.meta.url));
const program = process.env.GATEHOUSE_LOCAL ?? `${root}target/debug/local`;
const started = [];

/** Starts a system and resolves with its address. */
function start(...variables) {
  if (!existsSync(program)) throw new Error(`${program} is missing. Run \`cargo local\` once, or set GATEHOUSE_LOCAL.`);
  const hashed = createHash("sha256").update(SERVICE.secret).digest("base64url");
  const environment = [`TRUSTED_PROXY_SECRET=${PROXY_SECRET}`, `SERVICE_CLIENTS=${SERVICE.id}:${hashed}`, ...variables];
  const options = environment.flatMap((variable) => ["--env", variable]);
  const child = spawn(program, ["--no-build", "--port", "0", "--limits", "off", ...options], { cwd: root });
  started.push(child);
  return new Promise((resolve, reject) => {
    let log = "";
    child.stderr.on("data", (data) => (log = (log + data).slice(-2000)));
    child.stdout.on("data", (data) => {
      const address = /^ready (\S+)/m.exec(String(data))?.[1];
      if (address) resolve(address);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`The system ended with ${code}:\n${log}`)));
  });
}

let code = 1;
try {
  const url = process.env.GATEHOUSE_URL ?? (await start());
  const shortUrl = process.env.GATEHOUSE_SHORT_URL ?? (await start("JWT_EXPIRY=2s"));
  const folder = fileURLToPath(new URL("../test/", import.meta.url));
  const given = process.argv.slice(2);
  const files = given.length ? given : readdirSync(folder).filter((name) => name.endsWith(".test.mjs")).map((name) => folder + name);
  const env = {
    ...process.env,
    GATEHOUSE_URL: url,
    GATEHOUSE_SHORT_URL: shortUrl,
    GATEHOUSE_PROXY_SECRET: process.env.GATEHOUSE_PROXY_SECRET ?? PROXY_SECRET,
    GATEHOUSE_SERVICE: process.env.GATEHOUSE_SERVICE ?? `${SERVICE.id}:${SERVICE.secret}`,
  };
  const tests = spawn(process.execPath, ["--test", "--test-concurrency=2", "--test-timeout=300000", ...files], { env, stdio: "inherit" });
  code = await new Promise((resolve) => tests.on("exit", (status) => resolve(status ?? 1)));
} finally {
  for (const child of started) child.kill("SIGINT");
}
process.exit(code);
