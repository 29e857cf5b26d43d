import express from "express";
import { caller } from "./caller.js";

// Without the keys nobody can be verified; that is no fault of the token.
const isOutage = ({ code }) => ["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC", undefined].includes(code);

async function signedIn(request, response, next) {
  try {
    request.caller = await caller(request.headers.authorization);
  } catch (error) {
    if (!isOutage(error)) return response.status(401).set("WWW-Authenticate", "Bearer").json({ message: "sign in" });
    console.error("the keys cannot be fetched:", error.message);
    return response.status(503).json({ message: "try again later" });
  }
  next();
}

const app = express();
app.get("/me", signedIn, (request, response) => {
  response.json({ user: request.caller.sub, role: request.caller.role });
});
app.listen(process.env.PORT ?? 4000, "127.0.0.1");
