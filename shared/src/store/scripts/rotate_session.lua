-- Replaces a session's refresh token with its successor. Every decision about a refresh is made here.
-- ARGV: session id, counter of the presented token, idle lifetime (ms), idle lifetime of a remembered session (ms),
-- grace period (ms), ip, user agent, request id, network
-- Returns one of:
-- 'rotated', epoch, counter, rotated_at, expires_at, created_at, amr, previous rotated_at, previous expires_at
-- 'repeated', epoch, counter, rotated_at, expires_at, created_at, amr, suspicion (0: same client, 1: another client, 2: another client
-- for the first time)
-- 'gone'
-- 'reused'
local session = read(KEYS[1], ARGV[1])
if not session then return {'gone'} end
local presented, rotated_at, expires_at = tonumber(ARGV[2]), session.rotated_at, session.expires_at

-- A request that repeats itself because it got no answer is not a second use, however short the grace period.
local is_recent = now - rotated_at <= tonumber(ARGV[5]) or session.rotated_by == ARGV[8]
if presented == session.counter - 1 and is_recent then
  -- The token's owner repeats a request from the same place; somebody who copied the token comes from elsewhere.
  local elsewhere = (session.network ~= ARGV[9] or session.user_agent ~= ARGV[7]) and session.rotated_by ~= ARGV[8]
  local suspicion = 0
  if elsewhere then
    suspicion = session.repeated_elsewhere and 1 or 2
    session.repeated_elsewhere = true
    write(KEYS[1], ARGV[1], session)
  end
  return {'repeated', session.epoch, session.counter, rotated_at, expires_at, session.created_at, session.amr, suspicion}
end
if presented < session.counter then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'reused'}
end
-- A counter ahead of the record is valid too: a failover lost the last write.
local idle = session.remember and ARGV[4] or ARGV[3]
session.counter, session.rotated_at, session.rotated_by = presented + 1, now, ARGV[8]
session.expires_at = math.min(now + idle, session.absolute_expires_at)
session.last_used_at, session.ip, session.user_agent, session.network = now, ARGV[6], ARGV[7], ARGV[9]
write(KEYS[1], ARGV[1], session)
return {'rotated', session.epoch, session.counter, now, session.expires_at, session.created_at, session.amr, rotated_at, expires_at}
