-- Takes back a rotation whose successor was not handed out, unless the session has moved on.
-- KEYS: the session's hash
-- ARGV: the rotation's counter and rotated_at, then what rotated_at and expires_at were before
local session = redis.call('HMGET', KEYS[1], 'counter', 'rotated_at')
if session[1] ~= ARGV[1] or session[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'counter', ARGV[1] - 1, 'rotated_at', ARGV[3], 'expires_at', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 1
