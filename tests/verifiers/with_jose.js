// Reads an access token per line and says whether it is valid. It keeps the keys for KEYS_SECONDS, and does not ask
// earlier for a key that it does not know, as a strict cache.
import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const kept = Number(process.env.KEYS_SECONDS) * 1000;
const keys = createRemoteJWKSet(new URL(process.env.KEYS_URL), { cacheMaxAge: kept, cooldownDuration: kept });
const checks = { algorithms: [process.env.ALGORITHM ?? "RS256"], typ: "at+jwt", issuer: process.env.JWT_ISSUER, audience: "gatehouse" };

for await (const token of createInterface({ input: process.stdin })) {
  await jwtVerify(token, keys, checks).then(
    () => console.log("valid"),
    (error) => console.log(`${error}`),
  );
}
