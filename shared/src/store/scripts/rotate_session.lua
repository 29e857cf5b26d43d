-- Replaces a session's refresh token by its successor: the one decision about a refresh.
-- ARGV: session id, counter of the token presented, idle lifetime (ms), the same when remembered, grace (ms), ip, user agent, request id,
-- network
-- Returns: 'rotated' or 'repeated', then epoch, counter, rotated_at, expires_at; on 'rotated' also what
-- rotated_at and expires_at were before, on 'repeated' whether somebody else may be asking (2: for the
-- first time, 1, or 0); or 'gone', 'reused' alone
local session = read(KEYS[1], ARGV[1])
if not session then return {'gone'} end
local presented, rotated_at, expires_at = tonumber(ARGV[2]), session.rotated_at, session.expires_at

-- The same request asks again when it got no answer: that is no second use, however short the grace.
local is_recent = now - rotated_at <= tonumber(ARGV[5]) or session.rotated_by == ARGV[8]
if presented == session.counter - 1 and is_recent then
  -- The token's owner asks again from where it was exchanged; whoever copied it, from elsewhere.
  local elsewhere = (session.network ~= ARGV[9] or session.user_agent ~= ARGV[7]) and session.rotated_by ~= ARGV[8]
  local suspicion = 0
  if elsewhere then
    suspicion = session.repeated_elsewhere and 1 or 2
    session.repeated_elsewhere = true
    write(KEYS[1], ARGV[1], session)
  end
  return {'repeated', session.epoch, session.counter, rotated_at, expires_at, suspicion}
end
if presented < session.counter then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'reused'}
end
-- A token ahead of the record is ours all the same: a failover lost the last write.
local idle = session.remember and ARGV[4] or ARGV[3]
session.counter, session.rotated_at, session.rotated_by = presented + 1, now, ARGV[8]
session.expires_at = math.min(now + idle, session.absolute_expires_at)
session.last_used_at, session.ip, session.user_agent, session.network = now, ARGV[6], ARGV[7], ARGV[9]
write(KEYS[1], ARGV[1], session)
return {'rotated', session.epoch, session.counter, now, session.expires_at, rotated_at, expires_at}
