-- What a sign-in has to know of a user's sessions before it starts one.
-- KEYS[2]: the epoch of the user's sessions
-- ARGV: address, agent
-- Returns: whether a session was last used from this address with this agent (1 or 0), and the epoch
local epoch = redis.call('GET', KEYS[2]) or ''
for _, session in pairs(all()) do
  if session.ip == ARGV[1] and session.user_agent == ARGV[2] then return {1, epoch} end
end
return {0, epoch}
