-- Renews a lease for its whole length from now.
--
-- KEYS     1  the lock: a hash of token, fence, and until when it is held in µs
-- ARGV     1  the token
--          2  the lease, ms
--          3  how long the fence is kept, ms
-- Replies  1 if the token holds the lock, or 0
--
-- Atomic: nothing runs between comparing the token and renewing. A lease that has expired is not revived.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local lock = redis.call('HMGET', KEYS[1], 'token', 'until')
if lock[1] ~= ARGV[1] then return 0 end
if not (lock[2] and #lock[2] <= 16 and string.match(lock[2], '^%d+$')) then
  return redis.error_reply('WRONGTYPE The key holds no lock')
end
if tonumber(lock[2]) <= now then return 0 end
-- First what a server takes that is out of memory; then it takes the other too, and holders keep their locks.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[2] * 1000))
return 1
