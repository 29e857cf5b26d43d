import { headers } from "next/headers";

export async function GET() {
  const caller = await headers();
  return Response.json({ user: caller.get("x-user-id"), role: caller.get("x-user-role") });
}
