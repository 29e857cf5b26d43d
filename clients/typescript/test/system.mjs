// What the tests share: the running systems, people, mails, codes, and fetch functions that count or keep cookies.
import { createHmac, randomBytes } from "node:crypto";

/** A system started with `--limits off` and the variables of `scripts/test.mjs`. */
export const url = required("GATEHOUSE_URL");
/** The same with `JWT_EXPIRY=2s`. */
export const shortUrl = required("GATEHOUSE_SHORT_URL");

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing. scripts/test.mjs starts the systems and sets it.`);
  return value.replace(/\/$/, "");
}

export const PASSWORD = "Correct-7-horse";

/** The fields of a registration that nobody else uses. */
export function person() {
  const name = `t${randomBytes(8).toString("hex")}`;
  return { email: `${name}@example.com`, username: name, password: PASSWORD };
}

/** A fetch that keeps a list of requests: `{ method, path, headers, status }`. */
export function recording(inner = fetch) {
  const requests = [];
  const recorder = async (input, init = {}) => {
    const { url = input, method = "GET", headers } = input instanceof Request ? input : {};
    const entry = {
      method: init.method ?? method,
      path: new URL(url).pathname,
      headers: Object.fromEntries(new Headers(init.headers ?? headers)),
    };
    requests.push(entry);
    const response = await inner(input, init);
    entry.status = response.status;
    return response;
  };
  return Object.assign(recorder, {
    requests,
    count: (path) => requests.filter((request) => request.path === path).length,
  });
}

/** A fetch like a page's of one site: it keeps cookies and sends `Origin`. */
export function browserLike(origin, inner = fetch) {
  const jar = new Map();
  const browser = async (input, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("Origin", origin);
    if (init.credentials === "include" && jar.size) {
      headers.set("Cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
    }
    const response = await inner(input, { ...init, headers });
    if (init.credentials === "include") {
      for (const line of response.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        if (value && !/Max-Age=0/i.test(line)) jar.set(name, value);
        else jar.delete(name);
      }
    }
    return response;
  };
  return Object.assign(browser, { jar });
}

/** The token of the newest mail to this address whose link leads to `page`, other than the token `old`. */
export async function mailedToken(email, page, old) {
  const link = new RegExp(`/${page}#token=([0-9a-f]{64})`);
  for (let end = Date.now() + 10_000; Date.now() < end; await sleep(50)) {
    const mails = await (await fetch(`${url}/_local/mail`)).json();
    const found = mails.filter((mail) => mail.to.includes(email)).map((mail) => link.exec(mail.text)?.[1]).find((token) => token && token !== old);
    if (found) return found;
  }
  throw new Error(`no mail with a link to /${page}`);
}

/** A code of an authenticator app (RFC 6238 with SHA-1, six digits, 30 seconds). */
export function totp(secret, steps = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/=+$/, "")].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac("sha1", key).update(counter).digest();
  const start = mac[19] & 15;
  return String((mac.readUInt32BE(start) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** All events of a client, in their order. */
export function eventsOf(client) {
  const events = [];
  client.onAuthStateChange((event) => events.push(event));
  return events;
}

/** An asynchronous store, as on a phone. */
export function asyncStore(values = new Map()) {
  return {
    values,
    get: async (key) => values.get(key) ?? null,
    set: async (key, value) => void values.set(key, value),
    remove: async (key) => void values.delete(key),
  };
}

/** `localStorage` for Node. */
export function webStorage() {
  const values = new Map();
  return {
    values,
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, String(value)),
    removeItem: (key) => void values.delete(key),
  };
}
