-- Ends all sessions and devices of a user. If a session id is given, does so only if that session has not ended itself.
-- ARGV: the id of the session that asks (optional)
-- Returns: 1, or 0 if other sessions stay because the session that asks has ended
if ARGV[1] and not read(KEYS[1], ARGV[1]) and next(all(KEYS[1])) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
