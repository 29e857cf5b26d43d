-- What a sign-in has to know of a user's sessions before it starts one.
-- KEYS: the user's set of sessions, the epoch of the user's sessions
-- ARGV: the prefix of the hashes' names (same slot), address, agent
-- Returns: whether a session was last used from this address with this agent (1 or 0), and the epoch
local epoch = redis.call('GET', KEYS[2]) or ''
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local session = redis.call('HMGET', ARGV[1] .. id, 'ip', 'user_agent')
  if session[1] == ARGV[2] and session[2] == ARGV[3] then return {1, epoch} end
end
return {0, epoch}
