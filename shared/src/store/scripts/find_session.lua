-- What is known of a session.
-- ARGV: session id
-- Returns: ms since its sign-in, its epoch; nothing where it is over
local session = read(KEYS[1], ARGV[1])
return session and {now - session.created_at, session.epoch} or {}
