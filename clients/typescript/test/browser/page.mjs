// What the browser tests' page has: the client's modules, and fetch functions that count and can wait.
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { createClient } from "../../dist/index.js";
import { GatehouseProvider, useAuth } from "../../dist/react.js";

const requests = [];
let gate = Promise.resolve();
let open;

const recorder = async (input, init) => {
  const path = new URL(input, location.href).pathname;
  // A closed gate holds refreshes back, so that two tabs certainly want one at the same time.
  if (path === "/api/auth/refresh") await gate;
  requests.push(path);
  return fetch(input, init);
};

globalThis.page = {
  start(options) {
    this.client = createClient({ ...options, fetch: recorder });
    this.events = [];
    this.client.onAuthStateChange((event) => this.events.push(event.type));
  },
  /** Moves the page's clock, so that tokens expire for the client and no request takes too long for the API. */
  passTime(milliseconds) {
    const now = Date.now;
    Date.now = () => now() + milliseconds;
  },
  refreshes: () => requests.filter((path) => path === "/api/auth/refresh").length,
  forget: () => requests.splice(0),
  closeGate: () => (gate = new Promise((resolve) => (open = resolve))),
  openGate: () => open(),
  requestMany(count) {
    this.many = Promise.allSettled(Array.from({ length: count }, () => this.client.profile.get()));
  },
  async results() {
    return (await this.many).map((result) => (result.status === "fulfilled" ? result.value.user.email : String(result.reason)));
  },
  renderReact() {
    const Who = () => {
      const { status, user } = useAuth();
      return createElement("p", { id: "who" }, `${status} ${user?.name ?? "nobody"}`);
    };
    createRoot(document.body).render(createElement(GatehouseProvider, { client: this.client }, createElement(Who)));
  },
};
