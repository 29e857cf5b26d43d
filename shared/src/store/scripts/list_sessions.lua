-- Lists a user's sessions and devices.
-- Returns: for each session: id, created_at, last_used_at, ip, user_agent, epoch; for each device the same, with epoch
-- 0
local function list(key)
  local rows = {}
  for id, record in pairs(all(key)) do
    table.insert(rows, {id, record.created_at, record.last_used_at, record.ip, record.user_agent, record.epoch or 0})
  end
  return rows
end
return {list(KEYS[1]), list(KEYS[2])}
