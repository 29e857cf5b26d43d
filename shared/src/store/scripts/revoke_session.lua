-- Ends one session.
-- KEYS: the session's hash, the user's set of sessions; ARGV: session id
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
