-- Ends all sessions of a user; where one of them asks for it, only if that one is not over itself.
-- KEYS: the user's set of sessions, and the asking session's hash, if one asks
-- ARGV: the prefix of the hashes' names (same slot)
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local ended = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  ended = ended + redis.call('DEL', ARGV[1] .. id)
end
redis.call('DEL', KEYS[1])
return ended
