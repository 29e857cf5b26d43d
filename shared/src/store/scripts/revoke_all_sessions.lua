-- Ends all sessions of a user; where one of them asks for it, only if that one is not over itself.
-- KEYS: the user's set of sessions, the epoch of the user's sessions
-- ARGV: the prefix of the hashes' names (same slot), how long an epoch is kept (ms), and the asking
-- session's id, if one asks
-- Returns: 1, or 0 where others live on because the asking session has no say any more
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
if ARGV[3] then
  local asking_is_over, others_live = true, false
  for _, id in ipairs(ids) do
    local lives = redis.call('EXISTS', ARGV[1] .. id) == 1
    if id == ARGV[3] then asking_is_over = not lives else others_live = others_live or lives end
  end
  if asking_is_over and others_live then return 0 end
end
for _, id in ipairs(ids) do redis.call('DEL', ARGV[1] .. id) end
redis.call('DEL', KEYS[1])
local clock = redis.call('TIME')
redis.call('SET', KEYS[2], clock[1] .. '.' .. clock[2], 'PX', ARGV[2])
return 1
