-- Replaces a session's refresh token by its successor: the one decision about a refresh.
-- KEYS: the session's hash, the user's set of sessions
-- ARGV: session id, counter of the token presented, idle lifetime (ms), the same when remembered, grace (ms), ip, user agent
-- Returns: 'rotated' or 'repeated', then counter, rotated_at, expires_at; or 'gone', 'reused' alone
local session = redis.call('HMGET', KEYS[1], 'counter', 'rotated_at', 'expires_at', 'absolute_expires_at', 'remember')
if not session[1] then return {'gone'} end
local counter, rotated_at, expires_at, absolute_expires_at =
  tonumber(session[1]), tonumber(session[2]), tonumber(session[3]), tonumber(session[4])
local presented = tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

if presented == counter - 1 and now - rotated_at <= tonumber(ARGV[5]) then
  return {'repeated', counter, rotated_at, expires_at}
end
if presented < counter then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'reused'}
end
-- A token ahead of the record is ours all the same: a failover lost the last write.
local idle = session[5] == '1' and ARGV[4] or ARGV[3]
expires_at = math.min(now + idle, absolute_expires_at)
redis.call('HSET', KEYS[1], 'counter', presented + 1, 'rotated_at', now, 'last_used_at', now,
  'expires_at', expires_at, 'ip', ARGV[6], 'user_agent', ARGV[7])
redis.call('PEXPIREAT', KEYS[1], expires_at)
return {'rotated', presented + 1, now, expires_at}
