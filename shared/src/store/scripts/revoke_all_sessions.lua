-- Ends all sessions and devices of a user; where one session asks for it, only if that one is not over itself.
-- ARGV: the asking session's id, if one asks
-- Returns: 1, or 0 where others live on because the asking session has no say any more
if ARGV[1] and not read(KEYS[1], ARGV[1]) and next(all(KEYS[1])) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
