// What the pages share that links in mails lead to.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const result = document.getElementById("result");
const show = (good, text) => { result.className = good ? "good" : "bad"; result.textContent = text; };
const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  const details = (answer.details || []).map((detail) => detail.message).join(", ");
  show(response.ok, details ? `The password ${details}.` : answer.message);
  return response.ok;
};
if (!token) show(false, "This page needs a link from a mail.");
