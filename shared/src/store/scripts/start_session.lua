-- Starts a session and ends the oldest beyond the limit. Running twice starts it once.
-- ARGV: session id, idle lifetime (ms), maximum lifetime (ms), ip, user agent, role, remember (0/1), most
-- sessions, the epoch of the user's sessions, device id, device lifetime (ms), most devices
-- Returns: the server's time, when the session's token expires (both ms since 1970)
local absolute_expires_at = now + ARGV[3]
local expires_at = math.min(now + ARGV[2], absolute_expires_at)
write(KEYS[1], ARGV[1], {
  counter = 0, rotated_at = now, created_at = now, last_used_at = now, expires_at = expires_at,
  absolute_expires_at = absolute_expires_at, ip = ARGV[4], user_agent = ARGV[5], role = ARGV[6],
  remember = ARGV[7] == '1', epoch = tonumber(ARGV[9]),
})
prune(KEYS[1], ARGV[1], 'created_at', tonumber(ARGV[8]))
use_device(ARGV[10], ARGV[4], ARGV[5], ARGV[11], ARGV[12])
return {now, expires_at}
