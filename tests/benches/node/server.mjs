// A hand-written alternative to the functions: sign-in, refresh and profile with the same tables, the same Redis and
// the same tokens, but without limits, audit entries, lockout, second factor and the rest. For benchmarks only.

import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand } from "@aws-sdk/lib-dynamodb";
import { verify as verifyHash } from "@node-rs/argon2";
import express from "express";
import Redis from "ioredis";
import jwt from "jsonwebtoken";

const env = process.env;
const redis = new Redis(env.REDIS_URL);
const dynamodb = DynamoDBDocumentClient.from(
  new DynamoDBClient({
    endpoint: env.AWS_ENDPOINT_URL_DYNAMODB,
    region: "us-east-1",
    credentials: { accessKeyId: "login", secretAccessKey: "local" },
  }),
);
const claims = { issuer: env.JWT_ISSUER, audience: env.JWT_AUDIENCE };
const accessToken = { algorithms: ["HS256"], ...claims };

// Increments the session's counter if it equals the token's; otherwise deletes the session and returns nil.
redis.defineCommand("rotate", {
  numberOfKeys: 1,
  lua: `
    local counter = redis.call("HGET", KEYS[1], "counter")
    if counter ~= ARGV[1] then return redis.call("DEL", KEYS[1]) and nil end
    redis.call("HSET", KEYS[1], "last_used_at", ARGV[2])
    redis.call("EXPIRE", KEYS[1], 604800)
    return redis.call("HINCRBY", KEYS[1], "counter", 1)`,
});

const find = async (table, key) =>
  (await dynamodb.send(new GetCommand({ TableName: table, Key: key, ConsistentRead: true }))).Item;

const sessionKey = (userId, sid) => `node_session:{${userId}}:${sid}`;

function tokens(user, sid, counter) {
  const access = { userId: user.id, sid, role: user.role, type: "access" };
  const refresh = { userId: user.id, sid, counter, type: "refresh" };
  const options = { algorithm: "HS256", subject: user.id, ...claims };
  return {
    accessToken: jwt.sign(access, env.JWT_SECRET, { ...options, expiresIn: 900, jwtid: randomUUID() }),
    refreshToken: jwt.sign(refresh, env.JWT_REFRESH_SECRET, { ...options, expiresIn: 604800 }),
    tokenType: "Bearer",
    expiresIn: 900,
    refreshExpiresIn: 604800,
  };
}

const shown = ({ id, email, username, name, avatar_url, role, email_verified, two_factor_enabled, created_at, updated_at }) => ({
  id, email, username, name, avatarUrl: avatar_url, role, emailVerified: email_verified,
  twoFactorEnabled: two_factor_enabled, createdAt: created_at, updatedAt: updated_at,
});

const app = express();
app.disable("x-powered-by");
app.use(express.json());

app.post("/api/auth/login", async (request, response) => {
  const { email, password } = request.body;
  const claim = await find(env.USERS_TABLE, { pk: `EMAIL#${email.toLowerCase()}`, sk: "CLAIM" });
  const key = `USER#${claim.user_id}`;
  const [user, { hash }] = await Promise.all([
    find(env.USERS_TABLE, { pk: key, sk: "PROFILE" }),
    find(env.CREDENTIALS_TABLE, { pk: key, sk: "PASSWORD" }),
  ]);
  if (!(await verifyHash(hash, password))) return response.status(401).json({ error: "invalid_credentials" });
  const sid = randomUUID();
  const session = sessionKey(user.id, sid);
  await redis.multi().hset(session, { counter: 0, role: user.role }).expire(session, 604800).exec();
  response.json({ success: true, user: shown(user), ...tokens(user, sid, 0) });
});

app.post("/api/auth/refresh", async (request, response) => {
  const token = jwt.verify(request.body.refreshToken, env.JWT_REFRESH_SECRET, accessToken);
  const [counter, user] = await Promise.all([
    redis.rotate(sessionKey(token.userId, token.sid), token.counter, Date.now()),
    find(env.USERS_TABLE, { pk: `USER#${token.userId}`, sk: "PROFILE" }),
  ]);
  if (!counter || user?.status !== "active") return response.status(401).json({ error: "refresh_token_invalid" });
  response.json({ success: true, ...tokens(user, token.sid, counter) });
});

app.get("/api/auth/profile", async (request, response) => {
  const token = jwt.verify(request.get("authorization").slice("Bearer ".length), env.JWT_SECRET, accessToken);
  const [exists, user] = await Promise.all([
    redis.exists(sessionKey(token.userId, token.sid)),
    find(env.USERS_TABLE, { pk: `USER#${token.userId}`, sk: "PROFILE" }),
  ]);
  if (!exists || user?.status !== "active") return response.status(401).json({ error: "token_revoked" });
  response.json({ success: true, user: shown(user) });
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
