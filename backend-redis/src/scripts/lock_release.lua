-- Releases a lock if the token holds it.
--
-- KEYS     1  the lock: a hash of token, fence, and until when it is held in µs
-- ARGV     1  the token
-- Replies  1 if the token held the lock, or 0
--
-- Atomic: nothing runs between comparing the token and releasing, so nobody else's lock is released. The key
-- stays, with its expiry: the next holder's fence follows from it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local lock = redis.call('HMGET', KEYS[1], 'token', 'until')
if lock[1] ~= ARGV[1] then return 0 end
if not (lock[2] and #lock[2] <= 16 and string.match(lock[2], '^%d+$')) then
  return redis.error_reply('WRONGTYPE The key holds no lock')
end
if tonumber(lock[2]) <= now then return 0 end
-- First what a server takes that is out of memory; then it takes the other too, and the lock is free.
redis.call('HDEL', KEYS[1], 'until')
redis.call('HSET', KEYS[1], 'until', '0')
return 1
