-- Ends all sessions of a user except one. After a new password it also removes all devices.
-- ARGV: the id of the session to keep; then, after a new password: the id of the device to keep, ip, user agent, device
-- lifetime (ms), maximum number of devices
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if id ~= ARGV[1] then redis.call('HDEL', KEYS[1], id) end
end
if ARGV[2] then
  redis.call('DEL', KEYS[2])
  use_device(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
end
return 1
