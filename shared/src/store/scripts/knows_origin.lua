-- Whether one of a user's sessions was last used from this address with this agent.
-- KEYS: the user's set of sessions; ARGV: the prefix of the hashes' names (same slot), address, agent
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local session = redis.call('HMGET', ARGV[1] .. id, 'ip', 'user_agent')
  if session[1] == ARGV[2] and session[2] == ARGV[3] then return 1 end
end
return 0
