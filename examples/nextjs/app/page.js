import { headers } from "next/headers";

export default async function Page() {
  const id = (await headers()).get("x-user-id") ?? "nobody that it knows";
  return <p>This page was asked for by {id}. Everything beneath /api needs an access token.</p>;
}
