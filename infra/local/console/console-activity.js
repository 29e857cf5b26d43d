// The requests as they come, and charts of the last minutes.
import { at, clock, get, make, tone } from "./console-dom.js";

const KEPT = 300;
/** Requests by id, in the order of their arrival. */
const records = new Map();
let after = 0;
let isPaused = false;

/** Starts to follow the requests. */
export function startActivity() {
  at("filter").addEventListener("input", show);
  at("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    at("pause").setAttribute("aria-pressed", isPaused);
    if (!isPaused) show();
  });
}

/** Takes over what has happened since the last call; returns whether anything has. */
export async function followActivity() {
  const news = await get(`/_local/activity?after=${after}`);
  if (!news || news.next === after) return false;
  after = news.next;
  for (const record of news.records) records.set(record.requestId, record);
  while (records.size > KEPT) records.delete(records.keys().next().value);
  at("count-requests").textContent = requests().length || "";
  if (!isPaused) show();
  return true;
}

const requests = () => [...records.values()].filter((record) => record.exchange);

/** Splits the time of a request: start of the function, hash of the password, other work, and the way to the function. */
function parts(record) {
  const line = record.lines.find((line) => line.message === "request") ?? {};
  const hash = record.lines.reduce((sum, line) => sum + [line.HashTime ?? []].flat().reduce((a, b) => a + b, 0), 0);
  const total = record.exchange.durationMs;
  const inside = Math.min(line.duration_ms ?? 0, total);
  const outside = total - inside;
  return [
    { kind: "start", label: "start of the function", time: line.cold_start ? outside : 0 },
    { kind: "hash", label: "hash of the password", time: Math.min(hash, inside) },
    { kind: "work", label: "the function's other work", time: Math.max(inside - hash, 0) },
    { kind: "wait", label: "way to the function and back", time: line.cold_start ? 0 : outside },
  ].filter(({ time }) => time > 0.5);
}

function show() {
  const wanted = at("filter").value.trim().toLowerCase();
  const list = at("exchanges");
  const opened = new Set([...list.querySelectorAll("details[open]")].map((details) => details.dataset.id));
  const matching = requests().reverse().filter((record) => {
    const { method, path, status, code, limit } = record.exchange;
    return `${method} ${path} ${status} ${code ?? ""} ${limit ?? ""} ${record.exchange.function ?? ""}`.toLowerCase().includes(wanted);
  });
  list.replaceChildren(...matching.slice(0, 100).map((record) => row(record, opened.has(record.requestId))));
  if (!matching.length) list.append(make("li", { class: "quiet", text: wanted ? "No request matches." : "No request yet. Send one, or let your front end call this API." }));
}

// Fields that every line has; the request's own row shows what matters of them.
const OF_ALL = new Set(["level", "target", "timestamp", "message", "function", "name", "request_id", "route", "trace_id", "version", "_aws", "Stack"]);

/** A line of the function, or its metrics, without what every line has. */
function readable(line) {
  const own = Object.entries(line).filter(([name]) => !OF_ALL.has(name));
  const fields = own.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
  return line._aws ? `metrics ${fields}` : `${line.level} ${line.message}: ${fields}`;
}

function row(record, isOpen) {
  const { receivedAt, method, path, status, code, limit, durationMs } = record.exchange;
  const outcome = `${status}${limit ? ` ${limit}` : code ? ` ${code}` : ""}`;
  const times = parts(record);
  const bar = make("span", { class: "bar", "aria-hidden": "true" }, ...times.map(({ kind, time }) => make("i", { class: kind, style: `width:${(100 * time) / durationMs}%` })));
  const legend = make("p", { class: "legend" }, ...times.map(({ kind, label, time }) => make("span", {}, make("i", { class: kind }), `${label}: ${Math.round(time)} ms`)));
  const summary = make("summary", { class: "exchange" },
    make("time", { class: "quiet", datetime: receivedAt, text: clock(receivedAt) }),
    make("span", { text: method }),
    make("span", { class: "path", text: path }),
    make("span", { class: `status ${tone(status)}`, text: `${outcome} · ${Math.round(durationMs)} ms` }),
    bar);
  const lines = make("pre", { tabindex: "0", text: record.lines.map(readable).join("\n") || "The function wrote nothing." });
  const details = make("details", { open: isOpen, "data-id": record.requestId }, summary, legend, lines);
  return make("li", {}, details);
}

/** Draws the last ten minutes. */
export function drawCharts() {
  const now = Date.now();
  const slots = 60, width = 10_000;
  const slotOf = (time) => slots - 1 - Math.floor((now - new Date(time)) / width);
  const recent = requests().filter(({ exchange }) => slotOf(exchange.receivedAt) >= 0);
  const counts = Array.from({ length: slots }, () => ({ good: 0, warn: 0, bad: 0, times: [] }));
  for (const { exchange } of recent) {
    const slot = counts[slotOf(exchange.receivedAt)];
    slot[tone(exchange.status)] += 1;
    slot.times.push(exchange.durationMs);
  }
  const most = Math.max(1, ...counts.map(({ good, warn, bad }) => good + warn + bad));
  const longest = Math.max(1, ...recent.map(({ exchange }) => exchange.durationMs));
  const colour = { good: "var(--good)", warn: "var(--warn)", bad: "var(--bad)" };
  const bars = counts.flatMap((slot, index) => {
    let below = 0;
    return ["good", "warn", "bad"].filter((kind) => slot[kind]).map((kind) => {
      const height = (110 * slot[kind]) / most;
      below += height;
      return make("rect", { svg: true, x: index * 10 + 1, width: 8, y: 125 - below, height, fill: colour[kind] });
    });
  });
  const dots = counts.flatMap((slot, index) => slot.times.map((time) => make("rect", { svg: true, x: index * 10 + 2, width: 6, y: 123 - (110 * time) / longest, height: 3, fill: "var(--accent)" })));
  const codes = new Map();
  for (const { exchange } of recent) {
    const outcome = exchange.limit ?? exchange.code ?? "ok";
    codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
  }
  const sorted = recent.map(({ exchange }) => exchange.durationMs).sort((a, b) => a - b);
  const quantile = (share) => (sorted.length ? `${Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))])} ms` : "–");
  at("charts").replaceChildren(
    chart("Requests, for each ten seconds", `${recent.length} in the last ten minutes; at most ${most} in ten seconds`, bars),
    chart("Time until the answer", `half within ${quantile(0.5)}, 95 of 100 within ${quantile(0.95)}, the longest ${Math.round(longest)} ms`, dots),
    make("div", { class: "card" }, make("h2", { text: "Outcomes" }), make("dl", {}, ...[...codes].sort((a, b) => b[1] - a[1]).flatMap(([code, count]) => [make("dt", { text: code }), make("dd", { text: count })]))),
  );
}

function chart(title, text, shapes) {
  const axis = [
    make("line", { svg: true, x1: 0, x2: 600, y1: 126, y2: 126, stroke: "var(--edge)" }),
  ];
  return make("div", { class: "card" }, make("h2", { text: title }), make("p", { class: "quiet", text }), make("svg", { viewBox: "0 0 600 127", preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${text}` }, ...axis, ...shapes), make("p", { class: "axis quiet" }, make("span", { text: "ten minutes ago" }), make("span", { text: "now" })));
}
