-- Starts a session and ends the oldest beyond the limit, unless the user's sessions were ended since the
-- sign-in began. Running twice starts it once.
-- KEYS: the session's hash, the user's set of sessions, the epoch of the user's sessions (one slot: all
-- names carry {<userId>})
-- ARGV: session id, idle lifetime (ms), maximum lifetime (ms), ip, user agent, role, remember (0/1), most
-- sessions, the epoch when the sign-in began
-- Returns: the server's time, when the session's token expires (both ms since 1970), or nothing where none
-- was started
local epoch = redis.call('GET', KEYS[3])
if epoch and epoch ~= ARGV[9] then return {} end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local absolute_expires_at = now + ARGV[3]
local expires_at = math.min(now + ARGV[2], absolute_expires_at)
local prefix = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[1])

redis.call('HSET', KEYS[1], 'counter', 0, 'rotated_at', now, 'created_at', now, 'last_used_at', now,
  'expires_at', expires_at, 'absolute_expires_at', absolute_expires_at,
  'ip', ARGV[4], 'user_agent', ARGV[5], 'role', ARGV[6], 'remember', ARGV[7])
redis.call('PEXPIREAT', KEYS[1], expires_at)
redis.call('ZADD', KEYS[2], now, ARGV[1])

for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('EXISTS', prefix .. id) == 0 then redis.call('ZREM', KEYS[2], id) end
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -(ARGV[8] + 1))) do
  redis.call('DEL', prefix .. id)
  redis.call('ZREM', KEYS[2], id)
end
if redis.call('PTTL', KEYS[2]) < absolute_expires_at - now then
  redis.call('PEXPIREAT', KEYS[2], absolute_expires_at)
end
return {now, expires_at}
