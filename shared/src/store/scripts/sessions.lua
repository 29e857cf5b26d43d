-- What the scripts about sessions begin with.
-- KEYS[1]: the user's sessions, a hash of session ids; each field is a session's record as JSON
-- KEYS[2], where a script names it: the user's devices, a hash of device ids, likewise
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The record of this id; nothing where it is over.
local function read(key, id)
  local record = redis.call('HGET', key, id)
  record = record and cjson.decode(record)
  if record then record.epoch = record.epoch or 0 end -- of a session that is older than epochs
  return record and record.expires_at > now and record or nil
end

local function write(key, id, record)
  redis.call('HSET', key, id, cjson.encode(record))
  -- The hash lives as long as the longest of them.
  if redis.call('PTTL', key) < record.expires_at - now then
    redis.call('PEXPIREAT', key, record.expires_at)
  end
end

-- The records that are not over, by id.
local function all(key)
  local records, fields = {}, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local record = cjson.decode(fields[i + 1])
    if record.expires_at > now then records[fields[i]] = record end
  end
  return records
end

-- Removes what is over, and the lowest by this field beyond so many; never this one.
local function prune(key, id, field, most)
  local records, others = all(key), {}
  for _, other in ipairs(redis.call('HKEYS', key)) do
    if not records[other] then redis.call('HDEL', key, other)
    elseif other ~= id then table.insert(others, other) end
  end
  table.sort(others, function(a, b) return records[a][field] < records[b][field] end)
  for i = 1, #others + 1 - most do redis.call('HDEL', key, others[i]) end
end

-- Notes that somebody has signed in from this device, by name, for so long.
local function use_device(id, ip, user_agent, lifetime, most)
  local device = read(KEYS[2], id) or {created_at = now}
  device.last_used_at, device.ip, device.user_agent = now, ip, user_agent
  device.expires_at = now + lifetime
  write(KEYS[2], id, device)
  prune(KEYS[2], id, 'last_used_at', tonumber(most))
end

