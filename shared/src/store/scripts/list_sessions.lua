-- The sessions of a user, newest first.
-- KEYS: the user's set of sessions; ARGV: the prefix of the hashes' names (same slot)
-- Returns for each: id, created_at, last_used_at, ip, user_agent
local sessions = {}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
  local session = redis.call('HMGET', ARGV[1] .. id, 'created_at', 'last_used_at', 'ip', 'user_agent')
  if session[1] then table.insert(sessions, {id, unpack(session)}) end
end
return sessions
