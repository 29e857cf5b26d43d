// Passkeys: what a page does between the options and their answer.

/** Returns why this page cannot use passkeys; undefined if it can. */
export function obstacle() {
  if (location.hostname !== "localhost") return `A passkey belongs to a domain: open http://localhost:${location.port}/`;
  if (!globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) return "This browser has no passkeys, or an old form of them.";
  return undefined;
}

/** Creates a passkey, and returns it as JSON. */
export async function create(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}

/** Uses a passkey, and returns its answer as JSON. */
export async function use(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}
