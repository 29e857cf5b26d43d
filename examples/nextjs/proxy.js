// Until Next.js 15 this file is `middleware.js`, and the function `middleware`.
import { NextResponse } from "next/server";
import { caller } from "./caller.js";

// Without the keys nobody can be verified; that is no fault of the token.
const isOutage = ({ code }) => ["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC", undefined].includes(code);

// It runs before every route, so that no route reads names that a client has sent.
export async function proxy(request) {
  const headers = new Headers(request.headers);
  headers.delete("x-user-id");
  headers.delete("x-user-role");
  if (request.nextUrl.pathname.startsWith("/api/")) {
    try {
      const { sub, role } = await caller(request.headers.get("authorization"));
      headers.set("x-user-id", sub);
      headers.set("x-user-role", role);
    } catch (error) {
      if (!isOutage(error)) {
        return NextResponse.json({ message: "sign in" }, { status: 401, headers: { "WWW-Authenticate": "Bearer" } });
      }
      console.error("the keys cannot be fetched:", error.message);
      return NextResponse.json({ message: "try again later" }, { status: 503 });
    }
  }
  return NextResponse.next({ request: { headers } });
}
