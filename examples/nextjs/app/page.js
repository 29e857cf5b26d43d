export default function Page() {
  return <p>Anybody sees this page. Everything beneath /api needs an access token.</p>;
}
