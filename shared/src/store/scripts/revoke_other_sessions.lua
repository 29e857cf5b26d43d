-- Ends all sessions of a user but one; with a new password all devices as well.
-- ARGV: the id to keep; then, with a new password: the id of the device that goes on, ip, user agent, device
-- lifetime (ms), most devices
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if id ~= ARGV[1] then redis.call('HDEL', KEYS[1], id) end
end
if ARGV[2] then
  redis.call('DEL', KEYS[2])
  use_device(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
end
return 1
