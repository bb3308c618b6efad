-- Grants a place among at most so many in flight, or renews one.
--
-- KEYS     1  the subject's places: a sorted set of holders by the µs at which their lease ends, and of '*' by the µs of the
--             longest lease that was granted since the key is there
-- ARGV     1  the holder
--          2  how many may be in flight
--          3  the lease, in ms
--          4  '1' if it renews a place that is held
-- Replies  {'leased', how many are in flight}, {'full', µs until the first lease ends} or {'lost'}
--
-- Atomic: what has ended is cleared away, counted and added to in one step. The key lives for as long as its last lease. A lease
-- that ends later than the longest one would was granted before the server's clock was set back: it ends as that one.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local holder, most, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3] * 1000

local function decimal(n)
  return string.format('%.0f', n)
end

-- Ten years in µs, as long as a lease can be; 1980 as a time. So '*' is below, and every end above.
local ENDS = '(315360000000000'

local granted = redis.call('ZSCORE', KEYS[1], '*') -- refuses another type
local longest = math.max(tonumber(granted or 0), lease)
redis.call('ZREMRANGEBYSCORE', KEYS[1], ENDS, decimal(now))
local latest = decimal(now + longest)
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf')) do
  redis.call('ZADD', KEYS[1], latest, ahead)
end

local held = redis.call('ZSCORE', KEYS[1], holder)
if ARGV[4] == '1' and not held then return {'lost'} end
if not held and redis.call('ZCARD', KEYS[1]) - (granted and 1 or 0) >= most then
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], ENDS, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return {'full', first[2] - now}
end
redis.call('ZADD', KEYS[1], decimal(now + lease), holder, decimal(longest), '*')
local left = redis.call('PTTL', KEYS[1]) * 1000
if left < lease then
  redis.call('PEXPIRE', KEYS[1], decimal(lease / 1000))
elseif left > longest then
  redis.call('PEXPIRE', KEYS[1], decimal(longest / 1000))
end
return {'leased', redis.call('ZCARD', KEYS[1]) - 1}
