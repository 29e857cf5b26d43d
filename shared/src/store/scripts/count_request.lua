-- Counts a request against several limits: against each, or, if one of them is used up, against none.
-- Asking twice about one request counts it once.
-- KEYS: a sorted set for each limit (one slot); ARGV: the request's id, then for each limit the most
-- requests and the window (ms)
-- Returns: 1 if it was counted, else 0; then for each limit how many are left, and ms until one more is
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
  -- The request whose end lets the next one in: the oldest, or a later one where the limit was lowered.
  local at = math.max(counts[i] - most, 0)
  local request = redis.call('ZRANGE', key, at, at, 'WITHSCORES')
  table.insert(answer, math.max(most - counts[i], 0))
  table.insert(answer, request[2] and request[2] + window - now or 0)
end
return answer
