-- Grants a place among at most so many in flight, or renews one.
--
-- KEYS     1  the subject's places: a sorted set of holders by the µs at which their lease ends
-- ARGV     1  the holder
--          2  how many may be in flight
--          3  the lease, in ms
--          4  '1' if it renews a place that is held
-- Replies  {'leased', how many are in flight}, {'full', µs until the first lease ends} or {'lost'}
--
-- Atomic: what has ended is cleared away, counted and added to in one step. The key lives for as long as its last lease.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local holder, most, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local held = redis.call('ZSCORE', KEYS[1], holder)
if ARGV[4] == '1' and not held then return {'lost'} end
if not held and redis.call('ZCARD', KEYS[1]) >= most then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {'full', first[2] - now}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease * 1000), holder)
if redis.call('PTTL', KEYS[1]) < lease then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lease))
end
return {'leased', redis.call('ZCARD', KEYS[1])}
