-- Ends all sessions of a user but one.
-- KEYS: the user's set of sessions, the epoch of the user's sessions
-- ARGV: the prefix of the hashes' names (same slot), how long an epoch is kept (ms), the id to keep
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if id ~= ARGV[3] then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('ZREM', KEYS[1], id)
  end
end
local clock = redis.call('TIME')
redis.call('SET', KEYS[2], clock[1] .. '.' .. clock[2], 'PX', ARGV[2])
return 1
