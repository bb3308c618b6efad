-- Takes a lock if it is free, or again if the same token holds it.
--
-- KEYS     1  the lock: a hash of token, fence, and until when it is held in µs
-- ARGV     1  the token
--          2  the lease, ms
--          3  how long the fence is kept, ms
-- Replies  {1, fence}, or {0, what is left of the holder's lease in ms}
--
-- Atomic: nothing runs between seeing the lock free and taking it. The fence is greater than every earlier one,
-- and not less than the time in µs: a key that expired, was evicted or flushed sets none back. One key, so that
-- a lock can be taken while its slot is being moved.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local lock = redis.call('HMGET', KEYS[1], 'token', 'fence', 'until')
local fence, held_until = number(lock[2]), number(lock[3])
if (lock[1] or lock[2] or lock[3]) and not (lock[1] and fence and held_until) then
  return redis.error_reply('WRONGTYPE The key holds no lock')
end
if not fence or held_until <= now then
  fence = math.max(now, (fence or 0) + 1)
elseif lock[1] ~= ARGV[1] then
  return {0, math.ceil((held_until - now) / 1000)}
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'fence', string.format('%.0f', fence),
  'until', string.format('%.0f', now + ARGV[2] * 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, fence}
