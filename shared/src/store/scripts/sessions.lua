-- Shared beginning of all session scripts.
-- KEYS[1]: the user's sessions, a hash by session id; each field is a session's record as JSON
-- KEYS[2], if a script uses it: the user's devices, a hash by device id, likewise
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Returns the record with this id, or nil if it does not exist or has expired.
local function read(key, id)
  local record = redis.call('HGET', key, id)
  record = record and cjson.decode(record)
  if record then record.epoch, record.amr = record.epoch or 0, record.amr or 1 end -- for sessions from before these existed
  return record and record.expires_at > now and record or nil
end

local function write(key, id, record)
  redis.call('HSET', key, id, cjson.encode(record))
  -- The hash lives as long as its longest-lived record.
  if redis.call('PTTL', key) < record.expires_at - now then
    redis.call('PEXPIREAT', key, record.expires_at)
  end
end

-- Returns the records that have not expired, by id.
local function all(key)
  local records, fields = {}, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local record = cjson.decode(fields[i + 1])
    if record.expires_at > now then records[fields[i]] = record end
  end
  return records
end

-- Removes expired records. Beyond `most` records, also removes those with the lowest `field`; never removes `id`.
local function prune(key, id, field, most)
  local records, others = all(key), {}
  for _, other in ipairs(redis.call('HKEYS', key)) do
    if not records[other] then redis.call('HDEL', key, other)
    elseif other ~= id then table.insert(others, other) end
  end
  table.sort(others, function(a, b) return records[a][field] < records[b][field] end)
  for i = 1, #others + 1 - most do redis.call('HDEL', key, others[i]) end
end

-- Records a sign-in from this device and renews the device's lifetime.
local function use_device(id, ip, user_agent, lifetime, most)
  local device = read(KEYS[2], id) or {created_at = now}
  device.last_used_at, device.ip, device.user_agent = now, ip, user_agent
  device.expires_at = now + lifetime
  write(KEYS[2], id, device)
  prune(KEYS[2], id, 'last_used_at', tonumber(most))
end

