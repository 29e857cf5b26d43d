-- What the scripts about sessions begin with.
-- KEYS[1]: the user's sessions, a hash of session ids; each field is a session's record as JSON
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The session of this id; nothing where it is over.
local function read(id)
  local record = redis.call('HGET', KEYS[1], id)
  local session = record and cjson.decode(record)
  return session and session.expires_at > now and session or nil
end

local function write(id, session)
  redis.call('HSET', KEYS[1], id, cjson.encode(session))
  -- The hash lives as long as the longest of them.
  if redis.call('PTTL', KEYS[1]) < session.expires_at - now then
    redis.call('PEXPIREAT', KEYS[1], session.expires_at)
  end
end

-- The sessions that are not over, by id.
local function all()
  local sessions, fields = {}, redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local session = cjson.decode(fields[i + 1])
    if session.expires_at > now then sessions[fields[i]] = session end
  end
  return sessions
end

