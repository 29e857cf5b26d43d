-- Ends all sessions of a user but one.
-- KEYS[2]: the epoch of the user's sessions
-- ARGV: how long an epoch is kept (ms), the id to keep
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if id ~= ARGV[2] then redis.call('HDEL', KEYS[1], id) end
end
redis.call('SET', KEYS[2], clock[1] .. '.' .. clock[2], 'PX', ARGV[1])
return 1
