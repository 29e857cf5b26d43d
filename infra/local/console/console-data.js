// What the stores hold: users, sessions, limits, and every item; and the inbox.
import { at, clock, distance, get, make } from "./console-dom.js";

let kind = "users";
let before = new Map();
let known = "";

const KINDS = { users: "Users", sessions: "Sessions", limits: "Limits", items: "All items" };

/** Shows the kinds of data. */
export function startData() {
  for (const [id, title] of Object.entries(KINDS)) {
    at("kinds").append(make("button", { type: "button", id: `kind-${id}`, text: title, "aria-pressed": String(id === kind), onclick: () => { kind = id; known = ""; for (const button of at("kinds").children) button.setAttribute("aria-pressed", button.id === `kind-${id}`); showData(); } }));
  }
}

/** Reads the stores again; what has changed is marked. */
export async function showData() {
  const state = await get("/_local/state");
  if (!state) return;
  const text = JSON.stringify(state) + kind;
  if (text === known) return;
  known = text;
  const rows = { users, sessions, limits, items }[kind](state);
  const now = new Map(rows.map(({ key, content }) => [`${kind} ${key}`, JSON.stringify(content)]));
  const isFirst = ![...before.keys()].some((key) => key.startsWith(`${kind} `));
  at("rows").replaceChildren(...rows.map(({ key, title, content }) => {
    const isChanged = !isFirst && before.get(`${kind} ${key}`) !== now.get(`${kind} ${key}`);
    return make("details", { class: `item ${isChanged ? "changed" : ""}`, open: rows.length <= 3 }, make("summary", { text: title }), facts(content));
  }));
  if (!rows.length) at("rows").append(make("p", { class: "quiet", text: state.problem ?? "There is nothing yet." }));
  before = new Map([...before, ...now]);
}

function facts(content) {
  const rows = Object.entries(content).flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: typeof value === "object" ? JSON.stringify(value) : String(value) })]);
  return make("dl", {}, ...rows);
}

function users({ tables }) {
  const profiles = tables.flatMap(({ items }) => items).filter(({ sk }) => sk === "PROFILE");
  return profiles.map((item) => ({ key: item.pk, title: `${item.email}${item.username ? ` (${item.username})` : ""}${item.status === "active" || !item.status ? "" : `, ${item.status}`}`, content: item }));
}

const life = (ttl) => (ttl > 0 ? `, gone in ${distance(ttl)}` : "");

function sessions({ redis }) {
  return redis.filter(({ key }) => key.startsWith("sessions:")).flatMap(({ key, ttl, value }) =>
    Object.entries(value).map(([id, session]) => ({ key: `${key} ${id}`, title: `${id} of ${key.slice(10, -1)}${life(ttl)}`, content: typeof session === "object" ? session : { session } })));
}

function limits({ redis }) {
  return redis.filter(({ key }) => !key.startsWith("sessions:")).map(({ key, ttl, type, value }) => ({ key, title: `${key}${life(ttl)}`, content: { type, value } }));
}

function items({ tables, redis }) {
  const inTables = tables.flatMap(({ name, items }) => items.map((item) => ({ key: `${name} ${item.pk} ${item.sk}`, title: `${name}: ${item.pk} ${item.sk}`, content: item })));
  return [...inTables, ...redis.map(({ key, ttl, type, value }) => ({ key: `redis ${key}`, title: `redis: ${key}${life(ttl)}`, content: { type, value } }))];
}

let shownMail = null;
let knownMails = "";

/** Shows the mails, newest first. */
export async function showInbox() {
  const mails = await get("/_local/mail");
  if (!mails) return;
  at("count-inbox").textContent = mails.length || "";
  const text = mails.map((mail) => mail.id).join() + shownMail;
  if (text === knownMails) return;
  knownMails = text;
  const inbox = at("inbox");
  const mail = mails.find(({ id }) => id === shownMail);
  if (mail) {
    // A mail may display itself and open its links in a new tab. It may not run scripts or submit forms.
    const frame = make("iframe", { sandbox: "allow-popups allow-popups-to-escape-sandbox", title: "The mail" });
    frame.srcdoc = mail.html.replace("<head>", '<head><base target="_blank">');
    inbox.replaceChildren(make("div", { class: "mail" },
      make("div", { class: "tools" }, make("button", { type: "button", text: "All mails", onclick: () => { shownMail = null; showInbox(); } })),
      make("h2", { text: mail.subject }),
      make("p", { class: "quiet", text: `${mail.from} → ${mail.to.join(", ")}, ${clock(mail.sentAt)}` }),
      frame,
      make("details", { class: "item" }, make("summary", { text: "As text" }), make("pre", { text: mail.text }))));
    return;
  }
  const open = ({ id }) => () => { shownMail = id; showInbox().then(() => inbox.scrollIntoView({ block: "nearest" })); };
  inbox.replaceChildren(
    make("div", { class: "tools" }, make("button", { type: "button", text: "Delete all", onclick: async () => { await fetch("/_local/mail", { method: "DELETE" }); showInbox(); } })),
    make("ul", { class: "plain" }, ...mails.map((mail) => make("li", { class: "item" }, make("button", { type: "button", class: "entry", onclick: open(mail) }, make("strong", { text: mail.subject }), make("span", { class: "quiet", text: `${mail.to.join(", ")}, ${clock(mail.sentAt)}` }))))),
    ...(mails.length ? [] : [make("p", { class: "quiet", text: "No mail yet. Sign somebody up, and it comes here." })]));
}
