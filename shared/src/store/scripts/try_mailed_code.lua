-- Counts a try at a mailed code.
-- KEYS: the code's key
-- ARGV: the most tries
-- Returns: the entry as JSON, or nothing if there is none, or if it was tried too often
local stored = redis.call('GET', KEYS[1])
if not stored then
  return false
end
local entry = cjson.decode(stored)
entry.tries = entry.tries + 1
if entry.tries > tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  return false
end
redis.call('SET', KEYS[1], cjson.encode(entry), 'KEEPTTL')
return stored
