import { createClient, isGatehouseError } from "@gatehouse/client";

const parameters = new URLSearchParams(location.search);
const auth = createClient({ url: parameters.get("api") ?? "http://localhost:3000", storage: parameters.get("storage") ?? "local" });
const at = (id) => document.getElementById(id);
const show = (text) => { at("result").textContent = text; };

/** Runs what a form or a button stands for, with the fields that are filled in. */
function on(id, event, work) {
  at(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    const form = event === "submit" ? new FormData(at(id), happened.submitter) : [];
    try {
      show((await work(Object.fromEntries([...form].filter(([, value]) => value)))) ?? "");
    } catch (error) {
      if (!isGatehouseError(error)) throw error;
      if (error.code === "two_factor_required") at("code").hidden = false;
      show(error.details?.map(({ field, message }) => `${field} ${message}`).join("\n") || error.message);
    }
  });
}

function render() {
  const { status, user } = auth.state;
  at("who").textContent = { loading: "…", signedOut: "Nobody is signed in", signedIn: `Hello ${user?.name ?? user?.email}` }[status];
  at("signed-in").hidden = status !== "signedIn";
  at("signed-out").hidden = status !== "signedOut";
}

on("login", "submit", async ({ register, ...fields }) => {
  await (register ? auth.register(fields) : auth.login(fields));
  at("login").reset();
  at("code").hidden = true;
});
on("profile", "submit", (fields) => auth.profile.update(fields).then(() => "Saved."));
on("sessions", "click", () => auth.sessions.list().then(({ sessions }) => sessions.map(({ ip, userAgent }) => `${ip} ${userAgent}`).join("\n")));
on("setup", "click", async () => {
  const { qrCodeUrl, otpauthUrl } = await auth.twoFactor.setup({ deviceName: "Phone" });
  Object.assign(at("qr"), { src: qrCodeUrl });
  Object.assign(at("app"), { href: otpauthUrl });
  at("verify").hidden = false;
});
on("verify", "submit", async (fields) => {
  const { backupCodes } = await auth.twoFactor.verify(fields);
  at("verify").hidden = true;
  return `Keep these backup codes:\n${backupCodes.join("\n")}`;
});
on("logout", "click", () => auth.logout());

auth.onAuthStateChange(render);
auth.session().catch((error) => show(error.message)).then(render);
