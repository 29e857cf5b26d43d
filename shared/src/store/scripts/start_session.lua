-- Starts a session and ends the oldest beyond the limit, unless the user's sessions were ended since the
-- sign-in began. Running twice starts it once.
-- KEYS[2]: the epoch of the user's sessions
-- ARGV: session id, idle lifetime (ms), maximum lifetime (ms), ip, user agent, role, remember (0/1), most
-- sessions, the epoch when the sign-in began
-- Returns: the server's time, when the session's token expires (both ms since 1970), or nothing where none
-- was started
local epoch = redis.call('GET', KEYS[2])
if epoch and epoch ~= ARGV[9] then return {} end
local absolute_expires_at = now + ARGV[3]
local expires_at = math.min(now + ARGV[2], absolute_expires_at)
write(ARGV[1], {
  counter = 0, rotated_at = now, created_at = now, last_used_at = now, expires_at = expires_at,
  absolute_expires_at = absolute_expires_at, ip = ARGV[4], user_agent = ARGV[5], role = ARGV[6],
  remember = ARGV[7] == '1',
})

local sessions, others = all(), {}
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not sessions[id] then redis.call('HDEL', KEYS[1], id)
  elseif id ~= ARGV[1] then table.insert(others, id) end
end
table.sort(others, function(a, b) return sessions[a].created_at < sessions[b].created_at end)
for i = 1, #others + 1 - ARGV[8] do redis.call('HDEL', KEYS[1], others[i]) end
return {now, expires_at}
