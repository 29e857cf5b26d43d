-- Ends all sessions of a user but one.
-- KEYS: the user's set of sessions; ARGV: the prefix of the hashes' names (same slot), the id to keep
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if id ~= ARGV[2] then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('ZREM', KEYS[1], id)
  end
end
return 1
