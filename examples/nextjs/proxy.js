// Until Next.js 15 this file is `middleware.js`, and the function `middleware`.
import { NextResponse } from "next/server";
import { caller } from "./caller.js";

export const config = { matcher: "/api/:path*" };

// Without the keys nobody can be verified; that is no fault of the token.
const isOutage = (error) => ["ERR_JWKS_TIMEOUT", "ERR_JOSE_GENERIC", undefined].includes(error.code);

export async function proxy(request) {
  const headers = new Headers(request.headers);
  try {
    const { sub, role } = await caller(request.headers.get("authorization"));
    // Whatever a client sends under these names is replaced.
    headers.set("x-user-id", sub);
    headers.set("x-user-role", role);
  } catch (error) {
    if (isOutage(error)) return NextResponse.json({ message: "try again later" }, { status: 503 });
    return NextResponse.json({ message: "sign in" }, { status: 401, headers: { "WWW-Authenticate": "Bearer" } });
  }
  return NextResponse.next({ request: { headers } });
}
