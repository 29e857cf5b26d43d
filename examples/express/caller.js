import { createRemoteJWKSet, jwtVerify } from "jose";

const { AUTH_API, JWT_ISSUER, JWT_AUDIENCE } = process.env;
if (!JWT_ISSUER || !JWT_AUDIENCE) throw new Error("JWT_ISSUER or JWT_AUDIENCE is missing"); // jose skips undefined values
const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", AUTH_API), { cacheMaxAge: 7_200_000 }); // two hours
const checks = {
  algorithms: ["RS256"], typ: "at+jwt", issuer: JWT_ISSUER, audience: JWT_AUDIENCE,
  requiredClaims: ["sub", "sid", "exp"], clockTolerance: 30, // seconds by which clocks may be apart
};

// The claims of a valid access token; throws for any other.
export async function caller(authorization) {
  const token = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
  return (await jwtVerify(token, keys, checks)).payload;
}
