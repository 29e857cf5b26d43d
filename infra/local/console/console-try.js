// The operations, each with a form, the request and the answer.
import { at, clock, copyButton, distance, make, tone } from "./console-dom.js";
import { create, obstacle, use } from "./console-passkeys.js";

/** The signed-in user with the tokens; null where nobody is. */
let session = null;
let deviceToken = null;
let current = null;
let setup = null;

const number = Math.floor(Math.random() * 9000) + 1000;
const values = { email: `ada${number}@example.com`, username: `ada${number}`, password: "Correct-7-horse", identifier: `ada${number}@example.com`, newPassword: "Better-8-horses", provider: "google", currentPassword: "Correct-7-horse", deviceName: "Phone", name: "Ada Lovelace" };

const field = (name, label, more = {}) => ({ name, label, ...more });
const PASSWORD = { type: "password", autocomplete: "current-password" };
const NEW_PASSWORD = { type: "password", autocomplete: "new-password" };
/** Where the pages that the mails' links open find the values that bind codes to this browser. */
const KEPT = { "code-request": "gatehouse-code-request", register: "gatehouse-verify-request", resend: "gatehouse-verify-request", reset: "gatehouse-reset-request", "oauth-start": "gatehouse-oauth-request" };
const CODE_REQUEST = KEPT["code-request"];
/** Where the page to which a provider sends the browser puts its grant. */
const OAUTH_GRANT = "gatehouse-oauth-grant";
const ofProvider = () => ({ grant: localStorage.getItem(OAUTH_GRANT) ?? undefined, requestToken: localStorage.getItem(KEPT["oauth-start"]) ?? undefined });
const CODE_OF_MAIL = { inputmode: "numeric", autocomplete: "one-time-code" };
const CODE = { inputmode: "numeric", autocomplete: "one-time-code", isCode: true };

const OPERATIONS = [
  { id: "register", title: "Sign up", method: "POST", path: "/api/auth/register", fields: [field("email", "Address", { type: "email" }), field("username", "Username (optional)"), field("password", "Password", NEW_PASSWORD)], next: "profile" },
  { id: "login", title: "Sign in", method: "POST", path: "/api/auth/login", fields: [field("identifier", "Address or username"), field("password", "Password", PASSWORD), field("twoFactorToken", "Code, if two-factor authentication is on", CODE), field("rememberMe", "Stay signed in for 30 days", { type: "checkbox" })], next: "profile" },
  { id: "code-request", title: "Mail a code", method: "POST", path: "/api/auth/code/request", fields: [field("email", "Address", { type: "email" })], after: "The mail is in the inbox; its link opens a page that signs in, and the next form takes the code.", isPublic: true, next: "code-confirm" },
  { id: "code-confirm", title: "Sign in with the code", method: "POST", path: "/api/auth/code/confirm", fields: [field("code", "Code of the mail", CODE_OF_MAIL), field("twoFactorToken", "Code, if two-factor authentication is on", CODE)], body: () => ({ requestToken: localStorage.getItem(CODE_REQUEST) ?? undefined }), isPublic: true, next: "profile" },
  { id: "passkey-login", title: "Sign in with a passkey", method: "POST", path: "/api/auth/passkeys/login", fields: [field("rememberMe", "Stay signed in for 30 days", { type: "checkbox" })], isPublic: true, ceremony: use, next: "profile" },
  { id: "oauth-start", title: "Begin with a provider", method: "POST", path: "/api/auth/oauth/start", fields: [field("provider", "Provider, one of OAUTH_PROVIDERS")], isPublic: true, next: "oauth-login" },
  { id: "oauth-login", title: "Sign in with the provider", method: "POST", path: "/api/auth/oauth/login", fields: [field("twoFactorToken", "Code, if two-factor authentication is on", CODE), field("rememberMe", "Stay signed in for 30 days", { type: "checkbox" })], body: ofProvider, isPublic: true, next: "profile" },
  { id: "profile", title: "Profile", method: "GET", path: "/api/auth/profile", needsUser: true, fields: [], next: "update" },
  { id: "update", title: "Change the profile", method: "PUT", path: "/api/auth/profile", needsUser: true, fields: [field("name", "Name"), field("username", "Username"), field("avatarUrl", "Picture (https://…)")] },
  { id: "refresh", title: "Refresh", method: "POST", path: "/api/auth/refresh", needsUser: true, fields: [], body: () => ({ refreshToken: session.refreshToken }), isPublic: true },
  { id: "sessions", title: "Sessions", method: "GET", path: "/api/auth/sessions", needsUser: true, fields: [] },
  { id: "passkey-register", title: "Add a passkey", method: "POST", path: "/api/auth/passkeys/register", needsUser: true, fields: [field("name", "Name of the passkey", { value: "Laptop" }), field("twoFactorToken", "Code, if two-factor authentication is on", { ...CODE, isForOptions: true })], ceremony: create, next: "profile" },
  { id: "oauth-link", title: "Link the provider", method: "POST", path: "/api/auth/oauth/link", needsUser: true, fields: [], body: ofProvider, next: "profile" },
  { id: "setup", title: "Set up a second factor", method: "POST", path: "/api/auth/2fa/setup", needsUser: true, fields: [field("deviceName", "Name of the device")], next: "verify" },
  { id: "verify", title: "Confirm the second factor", method: "POST", path: "/api/auth/2fa/verify", needsUser: true, fields: [field("token", "Code of the app", CODE)] },
  { id: "disable", title: "Turn it off", method: "POST", path: "/api/auth/2fa/disable", needsUser: true, fields: [field("token", "Code of the app, or a backup code", CODE)] },
  { id: "password", title: "Change the password", method: "POST", path: "/api/auth/change-password", needsUser: true, fields: [field("currentPassword", "Present password", PASSWORD), field("newPassword", "New password", NEW_PASSWORD), field("twoFactorToken", "Code, if two-factor authentication is on", CODE)] },
  { id: "reset", title: "Forgot the password", method: "POST", path: "/api/auth/password-reset/request", fields: [field("email", "Address", { type: "email" })], after: "The mail is in the inbox; its link opens the page that sets a new password." },
  { id: "resend", title: "Mail the link again", method: "POST", path: "/api/auth/verify-email/resend", fields: [field("email", "Address", { type: "email" })] },
  { id: "logout", title: "Sign out", method: "POST", path: "/api/auth/logout", needsUser: true, fields: [field("allDevices", "On all devices", { type: "checkbox" })], next: "login" },
  { id: "delete", title: "Delete the account", method: "DELETE", path: "/api/auth/profile", needsUser: true, fields: [field("password", "Password", PASSWORD), field("twoFactorToken", "Code, if two-factor authentication is on", CODE)], next: "register" },
];

/** Shows the operations, one of them open; `onSent` is called after each request. */
export function startTrying(onSent, wanted) {
  const buttons = at("operations");
  for (const operation of OPERATIONS) {
    buttons.append(make("button", { type: "button", id: `operation-${operation.id}`, text: operation.title, "aria-pressed": "false", onclick: () => open(operation.id) }));
  }
  at("operation").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector(".main");
    button.disabled = true;
    await submit();
    button.disabled = false;
    onSent();
  });
  setInterval(showWho, 1000);
  open(OPERATIONS.some(({ id }) => id === wanted) ? wanted : "register");
}

/** Opens the form of an operation. */
export function open(id, given = {}) {
  Object.assign(values, given);
  current = OPERATIONS.find((operation) => operation.id === id);
  for (const button of at("operations").children) {
    const isOpen = button.id === `operation-${id}`;
    button.setAttribute("aria-pressed", isOpen);
    // On a phone they are in one line, which scrolls.
    if (isOpen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const form = at("operation");
  const hint = current.needsUser && !session ? "Nobody is signed in: the answer will be 401." : current.ceremony && obstacle();
  form.replaceChildren(
    make("h2", { text: current.title }),
    make("p", { class: "quiet", text: `${current.method} ${current.path}` }),
    ...(hint ? [make("p", { class: "quiet", text: hint })] : []),
    ...current.fields.flatMap(inputs),
    make("div", { class: "row" }, make("button", { class: "main", text: current.title })),
  );
}

function inputs({ name, label, type = "text", isCode, isForOptions, ...attributes }) {
  const id = `field-${name}`;
  if (type === "checkbox") return [make("label", { class: "check", for: id }, make("input", { id, name, type }), label)];
  const input = make("input", { id, name, type, value: isCode ? "" : (values[name] ?? ""), "aria-describedby": `${id}-problem`, autocomplete: "off", ...attributes });
  const problem = make("p", { class: "problem", id: `${id}-problem` });
  const fill = make("button", { type: "button", class: "fill", text: "Fill in the present code", onclick: async () => { input.value = await totp(setup.secret); } });
  return [make("label", { for: id, text: label }), input, problem, ...(isCode && setup && isSecureContext ? [make("div", { class: "row" }, fill)] : [])];
}

async function submit() {
  const operation = current;
  const body = operation.body?.() ?? {};
  const forOptions = {};
  for (const { name, type, value, isForOptions } of operation.fields) {
    const input = at(`field-${name}`);
    if (type === "checkbox") { if (input.checked) body[name] = true; continue; }
    if (input.value !== "") (isForOptions ? forOptions : body)[name] = input.value;
    if (name in values && value === undefined) values[name] = input.value;
  }
  if (operation.ceremony) {
    const options = await send(operation.method, `${operation.path}/options`, forOptions, operation.isPublic);
    if (options.status !== 200) return finish(operation, options);
    try {
      body.credential = await operation.ceremony(options.answer.publicKey);
    } catch (error) {
      return finish(operation, { status: 0, answer: { message: `The browser has no passkey for this: ${error.message}` } });
    }
  }
  if (operation.method === "GET") return finish(operation, await send(operation.method, operation.path));
  return finish(operation, await send(operation.method, operation.path, body, operation.isPublic), body);
}

/** Sends a request, and shows it with its answer. */
async function send(method, path, body, isPublic) {
  const headers = {};
  if (session && !isPublic) headers.Authorization = `Bearer ${session.accessToken}`;
  if (path.endsWith("/login") && deviceToken) headers["X-Device-Token"] = deviceToken;
  if (body) headers["Content-Type"] = "application/json";
  const short = (value) => (value.length > 60 ? `${value.slice(0, 36)}…` : value);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${short(value)}`);
  at("request").textContent = [`${method} ${path}`, ...lines, "", body ? JSON.stringify(body, null, 2) : ""].join("\n").trim();
  const started = performance.now();
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
  } catch {
    at("answer").textContent = "No answer: cargo local has been stopped.";
    return { status: 0, answer: {} };
  }
  const duration = Math.round(performance.now() - started);
  const answer = await response.json();
  const shown = ["RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate", "X-Request-Id"];
  const answered = shown.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
  at("answer").replaceChildren(
    make("strong", { class: tone(response.status), text: `${response.status}${answer.error ? ` ${answer.error}` : ""}` }),
    ` in ${duration} ms\n${answered.join("\n")}\n\n${JSON.stringify(answer, null, 2)}`,
  );
  return { status: response.status, answer };
}

function finish(operation, { status, answer }, body = {}) {
  for (const problem of at("operation").querySelectorAll(".problem")) problem.textContent = "";
  for (const input of at("operation").querySelectorAll("input")) input.setAttribute("aria-invalid", "false");
  const ofNoField = [];
  for (const detail of answer.details ?? []) {
    const input = at(`field-${detail.field}`);
    input?.setAttribute("aria-invalid", "true");
    const problem = at(`field-${detail.field}-problem`);
    if (problem) problem.textContent = `${problem.textContent} ${detail.message}`.trim();
    else ofNoField.push(`${detail.field} ${detail.message}.`);
  }
  const isDone = status >= 200 && status < 300;
  const shown = at("shown");
  const say = (text, className) => make("p", { class: className, text });
  if (!isDone) {
    shown.replaceChildren(say([answer.message ?? "", ...ofNoField].join(" "), "bad"));
    if (answer.error === "two_factor_required") shown.append(say("Type the code of the app into the form, and send it again.", "quiet"));
    return;
  }
  keep(operation, answer, body);
  shown.replaceChildren(say(answer.message, "good"), ...picture(operation, answer));
  if (operation.after) shown.append(say(operation.after, "quiet"));
  const next = OPERATIONS.find(({ id }) => id === operation.next);
  if (next) shown.append(make("div", { class: "row" }, make("button", { type: "button", text: `Go on: ${next.title}`, onclick: () => open(next.id) })));
}

/** Keeps tokens and user. */
function keep(operation, answer, body) {
  if (answer.deviceToken) deviceToken = answer.deviceToken;
  if (answer.accessToken) session = { ...session, accessToken: answer.accessToken, refreshToken: answer.refreshToken, expiresAt: Date.now() + answer.expiresIn * 1000, lifetime: answer.expiresIn };
  if (answer.user && session) session.user = answer.user;
  if (operation.id === "register") Object.assign(values, { identifier: body.email, currentPassword: body.password });
  if (operation.id === "password") Object.assign(values, { password: body.newPassword, currentPassword: body.newPassword });
  if (operation.id === "setup") setup = answer;
  const requestToken = answer.requestToken ?? answer.verification?.requestToken;
  if (requestToken) localStorage.setItem(KEPT[operation.id], requestToken);
  if (operation.id === "code-confirm") localStorage.removeItem(CODE_REQUEST);
  if (operation.id === "oauth-login" || operation.id === "oauth-link") localStorage.removeItem(OAUTH_GRANT);
  if (operation.id === "logout" || operation.id === "delete") session = null;
  if (operation.id === "disable") setup = null;
  showWho();
}

/** What a person would look at in the answer. */
function picture(operation, answer) {
  if (answer.qrCodeUrl) {
    return [make("div", { class: "card" },
      make("p", { text: "Scan this with an authenticator app, or open the app on this device." }),
      make("img", { src: answer.qrCodeUrl, alt: "QR code of the second factor" }),
      make("p", {}, make("a", { href: answer.otpauthUrl, text: "Open the app on this device" })),
      make("p", {}, make("code", { text: answer.secret })),
      copyButton(() => answer.secret, "Copy the secret"))];
  }
  if (answer.backupCodes) {
    return [make("div", { class: "card" },
      make("p", { text: "Backup codes. Each works once; they are not shown again." }),
      make("ul", { class: "codes" }, ...answer.backupCodes.map((code) => make("li", { text: code }))),
      copyButton(() => answer.backupCodes.join("\n"), "Copy the codes"))];
  }
  if (answer.authorizationUrl) {
    return [make("div", { class: "card" },
      make("p", { text: "Sign in there. The page to which the provider sends you back can sign in, too; or go on here." }),
      make("p", {}, make("a", { id: "provider-page", href: answer.authorizationUrl, target: "_blank", text: "Open the provider's page in another tab" })))];
  }
  if (answer.sessions) {
    const item = (entry, what) => make("li", { class: "row" },
      make("span", { text: `${what}, ${entry.ip}, last used ${distance((Date.now() - new Date(entry.lastUsedAt)) / 1000)} ago${entry.current ? " (this one)" : ""}` }),
      make("button", { type: "button", text: "End", onclick: async () => { await send("DELETE", `/api/auth/sessions/${entry.id}`); open("sessions"); } }));
    return [make("ul", { class: "plain card" }, ...answer.sessions.map((entry) => item(entry, "Session")), ...answer.devices.map((entry) => item(entry, "Device")))];
  }
  if (answer.user) {
    const { id, email, username, name, role, emailVerified, twoFactorEnabled } = answer.user;
    const rows = Object.entries({ id, email, username, name, role, "address verified": emailVerified ? "yes" : "no, see the inbox", "second factor": twoFactorEnabled ? "on" : "off" });
    return [
      make("dl", { class: "card" }, ...rows.flatMap(([label, value]) => [make("dt", { text: label }), make("dd", { text: value ?? "–" })])),
      ...(answer.passkeys?.length ? [make("ul", { class: "plain card" }, ...answer.passkeys.map(passkey))] : []),
      ...(answer.identities?.length ? [make("ul", { class: "plain card" }, ...answer.identities.map(identity))] : []),
    ];
  }
  return [];
}

const passkey = ({ id, name, createdAt, lastUsedAt }) => wayIn(`Passkey “${name}”, added`, createdAt, lastUsedAt, "Remove", `/api/auth/passkeys/${id}`);
const identity = ({ provider, email, linkedAt, lastUsedAt }) => wayIn(`${provider}${email ? ` (${email})` : ""}, linked`, linkedAt, lastUsedAt, "Unlink", `/api/auth/oauth/links/${provider}`);

function wayIn(what, addedAt, lastUsedAt, label, path) {
  const ago = (time) => `${distance((Date.now() - new Date(time)) / 1000)} ago`;
  return make("li", { class: "row" },
    make("span", { text: `${what} ${ago(addedAt)}, ${lastUsedAt ? `last used ${ago(lastUsedAt)}` : "never used"}` }),
    make("button", { type: "button", text: label, onclick: async () => {
      const removed = await send("DELETE", path, {});
      at("shown").replaceChildren(make("p", { class: removed.status === 200 ? "good" : "bad", text: removed.answer.message }));
    } }));
}

function showWho() {
  const who = at("who");
  if (!session) { who.textContent = "Nobody is signed in."; return; }
  const left = Math.round((session.expiresAt - Date.now()) / 1000);
  const token = left > 0 ? `access token for ${distance(left)}` : `access token expired at ${clock(session.expiresAt)}`;
  who.textContent = `${session.user?.email ?? "Signed in"} · ${token}`;
}

/** The present code of an authenticator app (RFC 6238: SHA-1, six digits, 30 seconds). */
async function totp(secret) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(Math.floor(Date.now() / 30000)));
  const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  const mac = new DataView(await crypto.subtle.sign("HMAC", hmac, counter));
  const digits = (mac.getUint32(mac.getUint8(19) & 15) & 0x7fffffff) % 1_000_000;
  return String(digits).padStart(6, "0");
}
