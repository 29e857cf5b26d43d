-- Counts a request against several limits: against each of them or, if one is used up, against none.
-- A second call for the same request does not count it again.
-- KEYS: a sorted set for each limit (all in one slot)
-- ARGV: the request's id, then for each limit the maximum number of requests and the window (ms)
-- Returns: 1 if the request was counted, else 0; then for each limit the number of requests left and the ms until one
-- more is free
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local counts, passes = {}, 1
for i, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  counts[i] = redis.call('ZCARD', key)
  if counts[i] >= most and not redis.call('ZSCORE', key, ARGV[1]) then passes = 0 end
end
local answer = {passes}
for i, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  if passes == 1 then
    counts[i] = counts[i] + redis.call('ZADD', key, 'NX', now, ARGV[1])
    redis.call('PEXPIRE', key, window)
  end
  -- The next request passes when this one leaves the window: the oldest, or a later one if the limit was lowered.
  local at = math.max(counts[i] - most, 0)
  local request = redis.call('ZRANGE', key, at, at, 'WITHSCORES')
  table.insert(answer, math.max(most - counts[i], 0))
  table.insert(answer, request[2] and request[2] + window - now or 0)
end
return answer
