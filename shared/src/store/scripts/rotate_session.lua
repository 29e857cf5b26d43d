-- Replaces a session's refresh token by its successor: the one decision about a refresh.
-- KEYS: the session's hash, the user's set of sessions
-- ARGV: session id, counter of the token presented, idle lifetime (ms), the same when remembered, grace (ms), ip, user agent, request id
-- Returns: 'rotated' or 'repeated', then counter, rotated_at, expires_at; on 'rotated' also what
-- rotated_at and expires_at were before; or 'gone', 'reused' alone
local session = redis.call('HMGET', KEYS[1],
  'counter', 'rotated_at', 'expires_at', 'absolute_expires_at', 'remember', 'rotated_by')
if not session[1] or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return {'gone'} end
local counter, rotated_at, expires_at, absolute_expires_at =
  tonumber(session[1]), tonumber(session[2]), tonumber(session[3]), tonumber(session[4])
local presented = tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The same request asks again when it got no answer: that is no second use, however short the grace.
local is_recent = now - rotated_at <= tonumber(ARGV[5]) or session[6] == ARGV[8]
if presented == counter - 1 and is_recent then
  return {'repeated', counter, rotated_at, expires_at}
end
if presented < counter then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return {'reused'}
end
-- A token ahead of the record is ours all the same: a failover lost the last write.
local idle = session[5] == '1' and ARGV[4] or ARGV[3]
local new_expires_at = math.min(now + idle, absolute_expires_at)
redis.call('HSET', KEYS[1], 'counter', presented + 1, 'rotated_at', now, 'rotated_by', ARGV[8],
  'last_used_at', now, 'expires_at', new_expires_at, 'ip', ARGV[6], 'user_agent', ARGV[7])
redis.call('PEXPIREAT', KEYS[1], new_expires_at)
return {'rotated', presented + 1, now, new_expires_at, rotated_at, expires_at}
