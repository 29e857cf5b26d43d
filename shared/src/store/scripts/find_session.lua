-- Reads a session.
-- ARGV: session id
-- Returns: ms since its sign-in, its epoch; an empty table if the session has ended
local session = read(KEYS[1], ARGV[1])
return session and {now - session.created_at, session.epoch} or {}
