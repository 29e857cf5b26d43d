-- Reads the facts about a user's sessions and devices that a sign-in needs before it starts a session.
-- ARGV: address, agent, the id of the device whose token was presented (or an empty string)
-- Returns: whether a session was last used from this address with this agent, and whether the device is one of the
-- user's (1 or 0)
local device = read(KEYS[2], ARGV[3]) and 1 or 0
for _, session in pairs(all(KEYS[1])) do
  if session.ip == ARGV[1] and session.user_agent == ARGV[2] then return {1, device} end
end
return {0, device}
