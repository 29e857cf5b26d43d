// Shared by the pages that links in mails open.
const fragment = new URLSearchParams(location.hash.slice(1));
const token = fragment.get("token");
const result = document.getElementById("result"), form = document.querySelector("form");
const names = { newPassword: "The password", password: "The password", token: "The link", requestToken: "The code", code: "The code", twoFactorToken: "The code", grant: "The sign-in" };
const show = (good, text) => { result.className = good ? "good" : "bad"; result.textContent = text; };
// Replaces the form by its result and a link to continue.
const finish = () => {
  form.hidden = true;
  document.querySelectorAll(".before").forEach((element) => { element.hidden = true; });
  document.getElementById("next").hidden = false;
};
const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  const details = (answer.details || []).map((detail) => `${names[detail.field] || detail.field} ${detail.message}.`);
  show(response.ok, details.join(" ") || answer.message);
  document.querySelectorAll("input").forEach((input) => input.setAttribute("aria-invalid", details.length > 0));
  if (response.ok) finish();
  return answer;
};
// Some mail gateways drop what follows `#`. The console keeps the value that belongs to the code of the mail.
const kept = (name) => localStorage.getItem(`gatehouse-${name}`);
const needLink = () => { finish(); show(false, "This page needs a link from a mail."); };
// Returns the proof to send: the link's token, or the code that is typed into `field`, which is shown without a token.
const proofOf = (requestToken, field) => {
  if (!token && !requestToken) needLink();
  if (token || !requestToken) return () => ({ token });
  field.hidden = false;
  const input = field.querySelector("input");
  input.required = true;
  return () => ({ requestToken, code: input.value });
};
if (!token && !["code", "grant", "error"].some((name) => fragment.has(name)) && !document.querySelector(".code-of-mail")) needLink();
