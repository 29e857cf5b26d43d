// The console at / of the local stack: its views, and what keeps them up to date.
import { drawCharts, followActivity, startActivity } from "./console-activity.js";
import { showData, showInbox, startData } from "./console-data.js";
import { at } from "./console-dom.js";
import { startTrying } from "./console-try.js";

const VIEWS = ["try", "requests", "data", "inbox", "charts"];
const wide = matchMedia("(min-width: 1080px)");
let view = "try";

/** Shows a view; on a wide screen the operations stay beside it. */
function select(id, isFocused = false) {
  view = wide.matches && id === "try" ? "requests" : id;
  for (const name of VIEWS) {
    const isShown = name === view;
    at(name).hidden = !isShown;
    const tab = at(`tab-${name}`);
    tab.setAttribute("aria-selected", isShown);
    tab.tabIndex = isShown ? 0 : -1;
    if (isShown && isFocused) tab.focus();
    if (isShown) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  history.replaceState(null, "", `#${view}`);
  refresh();
}

/** Reads what the present view shows. */
function refresh() {
  if (view === "data") showData();
  if (view === "charts") drawCharts();
  showInbox();
}

at("tabs").addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) select(tab.id.slice(4));
});
// Arrow keys move between tabs (WAI-ARIA Authoring Practices, tabs).
at("tabs").addEventListener("keydown", (event) => {
  const shown = VIEWS.filter((name) => !(wide.matches && name === "try"));
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  select(shown[(shown.indexOf(view) + step + shown.length) % shown.length], true);
});
wide.addEventListener("change", () => select(view));

// A view, or an operation: pages of mailed links lead to #login.
const wanted = location.hash.slice(1);
startTrying(poll, wanted);
startActivity();
startData();
select(VIEWS.includes(wanted) ? wanted : "try");

let polling = false;

/** Asks for news. A hidden page does not ask. */
async function poll() {
  if (polling || document.hidden) return;
  polling = true;
  if (await followActivity()) refresh();
  polling = false;
}

setInterval(poll, 700);
// Mails come a moment after their requests; limits run out by themselves.
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
poll();
