-- The sessions of a user.
-- Returns for each: id, created_at, last_used_at, ip, user_agent
local sessions = {}
for id, session in pairs(all()) do
  table.insert(sessions, {id, session.created_at, session.last_used_at, session.ip, session.user_agent})
end
return sessions
