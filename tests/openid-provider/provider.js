// A certified OpenID provider for tests, on the port PORT. Whoever signs in chooses the address as the login; one that
// begins with "unverified" is not verified.
import { Provider } from "oidc-provider";

const { PORT, CLIENT_ID, CLIENT_SECRET } = process.env;
const callback = "/api/auth/oauth/callback/real";

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: [`http://127.0.0.1${callback}`] }],
  claims: { email: ["email", "email_verified"], profile: ["name"] },
  pkce: { required: () => true },
  cookies: { keys: ["only an example"] },
  findAccount: (_, email) => ({
    accountId: email,
    claims: () => ({ sub: email, email, email_verified: !email.startsWith("unverified"), name: "Ada L" }),
  }),
});
// The port of the system under test is not known yet.
provider.Client.prototype.redirectUriAllowed = (uri) => new URL(uri).pathname === callback;
provider.listen(Number(PORT), "127.0.0.1");
