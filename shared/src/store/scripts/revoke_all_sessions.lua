-- Ends all sessions of a user; where one of them asks for it, only if that one is not over itself.
-- KEYS[2]: the epoch of the user's sessions
-- ARGV: how long an epoch is kept (ms), and the asking session's id, if one asks
-- Returns: 1, or 0 where others live on because the asking session has no say any more
if ARGV[2] and not read(ARGV[2]) and next(all()) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], clock[1] .. '.' .. clock[2], 'PX', ARGV[1])
return 1
