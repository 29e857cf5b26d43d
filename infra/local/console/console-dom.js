// Shared by the parts of the console.

/** Makes an element: `make("p", { class: "quiet", text: "…", onclick }, child, …)`. */
export function make(name, properties = {}, ...children) {
  const element = document.createElementNS(name === "svg" || properties.svg ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || key === "svg") continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true || value === false) element.toggleAttribute(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

export const at = (id) => document.getElementById(id);

/** A button that copies a text. */
export function copyButton(text, label = "Copy") {
  const button = make("button", { type: "button", text: label });
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not possible here";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

/**
 * Copies a text, and returns whether that was possible. A phone that reaches this machine by its address has no clipboard
 * API: http there is not secure.
 */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = make("textarea", { text });
  document.body.append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  return isDone;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

/** How long ago, or in how long, in words. */
export function distance(seconds) {
  const size = Math.abs(seconds);
  const [amount, unit] = size < 90 ? [size, "s"] : size < 5400 ? [size / 60, "min"] : size < 172800 ? [size / 3600, "h"] : [size / 86400, "days"];
  return `${Math.round(amount)} ${unit}`;
}

/** The class of a status. */
export const tone = (status) => (status < 300 ? "good" : status < 500 ? "warn" : "bad");

/** Gets JSON from the local stack, or null while it is not there. */
export async function get(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the stack has been stopped; the header says so
  }
}
