-- Takes a lock if it is free, or again if the same token holds it.
--
-- KEYS     1  the lock: "token:fence"
--          2  the last fence
-- ARGV     1  the token
--          2  the lease, ms
--          3  how long the fence is kept, ms
-- Replies  {1, fence}, or {0, what is left of the holder's lease in ms}
--
-- Atomic: nothing runs between seeing the lock free and taking it. The fence is greater than every earlier one,
-- and not less than the time in µs: a fence key that expired, was evicted or flushed sets none back.
local held = redis.call('GET', KEYS[1])
if held then
  local token, fence = string.match(held, '^(%x+):(%d+)$')
  if not token or #fence > 16 then return redis.error_reply('WRONGTYPE The key holds no lock') end
  if token ~= ARGV[1] then return {0, math.max(redis.call('PTTL', KEYS[1]), 1)} end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(fence)}
end

local last = redis.call('GET', KEYS[2])
if last and (#last > 16 or not string.match(last, '^%d+$')) then
  return redis.error_reply('NOTANUMBER The key holds no fence')
end
local time = redis.call('TIME')
local fence = math.max(time[1] * 1000000 + time[2], (last or 0) + 1)
local number = string.format('%.0f', fence)
redis.call('SET', KEYS[2], number, 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. number, 'PX', ARGV[2])
return {1, fence}
