-- Ends one session.
-- ARGV: session id
return redis.call('HDEL', KEYS[1], ARGV[1])
