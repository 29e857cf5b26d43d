import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, isGatehouseError } from "../dist/index.js";
import { eventsOf, mailedToken, PASSWORD, person, recording, totp, url } from "./system.mjs";

const NEW_PASSWORD = "Battery-8-staple";

test("a user registers, reads and changes the profile, and signs out", async () => {
  const fetch = recording();
  const client = createClient({ url, fetch });
  const events = eventsOf(client);
  const fields = person();

  const { user, isSignedIn } = await client.register({ ...fields, name: "Ada L." });
  const { user: read, twoFactor } = await client.profile.get();
  const changed = await client.profile.update({ name: "Ada Lovelace" });
  const shown = client.user;
  await client.logout();

  assert.equal(isSignedIn, true);
  assert.equal(user.email, fields.email);
  assert.equal(read.id, user.id);
  assert.deepEqual(twoFactor, { devices: [], backupCodesLeft: 0 });
  assert.equal(changed.name, "Ada Lovelace");
  assert.deepEqual(shown, changed);
  assert.equal(client.user, null);
  assert.deepEqual(client.state, { status: "signedOut", user: null });
  assert.deepEqual(events.map((event) => event.type), ["signed_in", "user_updated", "signed_out"]);
  assert.equal(events[2].reason, "logout");
  const token = fetch.requests.find((request) => request.path === "/api/auth/profile").headers.authorization;
  const after = await globalThis.fetch(`${url}/api/auth/profile`, { headers: { Authorization: token } });
  assert.equal((await after.json()).error, "token_revoked");
});

test("a user signs in with address or username, lists the sessions and ends the others", async () => {
  const fields = person();
  const first = createClient({ url });
  const second = createClient({ url });
  await first.register(fields);
  await second.login({ identifier: fields.username, password: PASSWORD });
  const third = createClient({ url });
  await third.login({ email: fields.email, password: PASSWORD });

  const { sessions, devices } = await third.sessions.list();
  await third.sessions.revoke(sessions.at(-1).id);
  const events = eventsOf(first);
  await assert.rejects(first.profile.get(), { code: "token_revoked", status: 401 });
  await third.sessions.revokeOthers();
  const { sessions: left } = await third.sessions.list();

  assert.equal(sessions.length, 3);
  assert.equal(sessions.filter((session) => session.current).length, 1);
  assert.ok(devices.length >= 1);
  assert.deepEqual(events, [{ type: "signed_out", reason: "token_revoked" }]);
  assert.equal(left.length, 1);
  await assert.rejects(third.sessions.revoke("01JDV3MAB0C1D2E3F4G5H6J7K8"), { code: "not_found", status: 404 });
});

test("signing out everywhere ends the sessions of other devices", async () => {
  const fields = person();
  const first = createClient({ url });
  const second = createClient({ url });
  await first.register(fields);
  await second.login({ identifier: fields.username, password: PASSWORD });

  await second.logout({ allDevices: true });

  await assert.rejects(first.profile.get(), { code: "token_revoked" });
});

test("a user changes the password, and deletes the account with the new one", async () => {
  const client = createClient({ url });
  const events = eventsOf(client);
  const fields = person();
  await client.register(fields);

  await client.changePassword({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD });
  await client.profile.delete({ password: NEW_PASSWORD });

  assert.deepEqual(events.at(-1), { type: "signed_out", reason: "account_deleted" });
  await assert.rejects(client.login({ identifier: fields.username, password: NEW_PASSWORD }), {
    code: "invalid_credentials",
    status: 401,
  });
});

test("a user sets a new password with the mailed link", async () => {
  const client = createClient({ url });
  const fields = person();
  await client.register(fields);

  await client.requestPasswordReset({ email: fields.email });
  const token = await mailedToken(fields.email, "reset-password");
  await client.confirmPasswordReset({ token, newPassword: NEW_PASSWORD });
  const user = await createClient({ url }).login({ email: fields.email, password: NEW_PASSWORD });

  assert.equal(user.emailVerified, true);
  await assert.rejects(client.confirmPasswordReset({ token, newPassword: NEW_PASSWORD }), { code: "invalid_reset_token" });
});

test("the access token proves who verifies an address, and the user is read again", async () => {
  const client = createClient({ url });
  const fields = person();
  await client.register(fields);
  const first = await mailedToken(fields.email, "verify-email");
  await client.resendVerification({ email: fields.email });
  const second = await mailedToken(fields.email, "verify-email", first);

  await client.verifyEmail({ token: second });

  assert.equal(client.user.emailVerified, true);
});

test("after a sign-out the device token proves who verifies an address", async () => {
  const client = createClient({ url });
  const stranger = createClient({ url });
  const fields = person();
  await client.register(fields);
  const token = await mailedToken(fields.email, "verify-email");
  await client.logout();

  await assert.rejects(stranger.verifyEmail({ token }), { code: "confirmation_required" });
  await client.verifyEmail({ token });

  const user = await client.login({ email: fields.email, password: PASSWORD });
  assert.equal(user.emailVerified, true);
});

test("the owner of an address rejects the account of somebody else", async () => {
  const fields = person();
  await createClient({ url }).register(fields);
  const owner = createClient({ url });

  await owner.verifyEmail({ token: await mailedToken(fields.email, "reject-email"), reject: true });

  await assert.rejects(owner.login({ email: fields.email, password: PASSWORD }), { code: "invalid_credentials" });
});

test("two-factor authentication is set up, asked for at sign-in, renewed and turned off", async () => {
  const fields = person();
  const client = createClient({ url });
  const events = eventsOf(client);
  await client.register(fields);

  const { secret, deviceId, otpauthUrl, qrCodeUrl } = await client.twoFactor.setup({ deviceName: "Phone" });
  const { backupCodes } = await client.twoFactor.verify({ token: totp(secret, -1), deviceId });
  assert.equal(client.user.twoFactorEnabled, true);
  assert.equal(events.at(-1).type, "user_updated");
  assert.match(otpauthUrl, /^otpauth:\/\/totp\//);
  assert.match(qrCodeUrl, /^data:image\/png;base64,/);
  assert.equal(backupCodes.length, 10);

  const other = createClient({ url });
  const login = { identifier: fields.username, password: PASSWORD };
  const refusal = await other.login(login).catch((error) => error);
  assert.ok(isGatehouseError(refusal, "two_factor_required"));
  assert.equal(refusal.status, 403);
  await other.login({ ...login, twoFactorToken: totp(secret, 0) });

  const renewed = await other.twoFactor.regenerate({ token: totp(secret, 1) });
  assert.equal(renewed.length, 10);
  assert.notDeepEqual(renewed, backupCodes);
  await other.twoFactor.disable({ token: renewed[0] });
  assert.equal(other.user.twoFactorEnabled, false);
});

test("the mailed link turns two-factor authentication off", async () => {
  const fields = person();
  const client = createClient({ url });
  await client.register(fields);
  const { secret } = await client.twoFactor.setup();
  await client.twoFactor.verify({ token: totp(secret) });

  await client.twoFactor.undo({ token: await mailedToken(fields.email, "undo-two-factor") });

  await assert.rejects(client.profile.get(), { code: "token_revoked" });
  await assert.rejects(client.login({ identifier: fields.username, password: PASSWORD }), { code: "password_reset_required" });
});

test("a sign-in says that the password is known from a data leak", async () => {
  const { email, password, ...fields } = person();
  await createClient({ url }).register({ email, password, ...fields });
  const withHint = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).endsWith("/login")) return response;
    return Response.json({ ...(await response.json()), passwordLeaked: true });
  };
  const client = createClient({ url, fetch: withHint });

  const user = await client.login({ identifier: email, password });

  assert.equal(user.passwordLeaked, true);
  assert.equal(client.user.passwordLeaked, undefined); // it is no property of the account
});
