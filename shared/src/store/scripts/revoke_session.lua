-- Ends one session, or removes one device.
-- ARGV: its id
-- Returns: 1, or 0 if it had already ended
local was_there = read(KEYS[1], ARGV[1]) or read(KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return was_there and 1 or 0
