-- Starts a session and ends the oldest ones beyond the maximum. A second call with the same id does not start another.
-- ARGV: session id, idle lifetime (ms), maximum lifetime (ms), ip, user agent, role, remember (0/1), maximum number of
-- sessions, the user's session epoch, device id, device lifetime (ms), maximum number of devices, the bits of the authentication methods
-- Returns: the server's time, the expiry of the session's refresh token (both in ms since 1970)
local absolute_expires_at = now + ARGV[3]
local expires_at = math.min(now + ARGV[2], absolute_expires_at)
write(KEYS[1], ARGV[1], {
  counter = 0, rotated_at = now, created_at = now, last_used_at = now, expires_at = expires_at,
  absolute_expires_at = absolute_expires_at, ip = ARGV[4], user_agent = ARGV[5], role = ARGV[6],
  remember = ARGV[7] == '1', epoch = tonumber(ARGV[9]), amr = tonumber(ARGV[13]),
})
prune(KEYS[1], ARGV[1], 'created_at', tonumber(ARGV[8]))
use_device(ARGV[10], ARGV[4], ARGV[5], ARGV[11], ARGV[12])
return {now, expires_at}
