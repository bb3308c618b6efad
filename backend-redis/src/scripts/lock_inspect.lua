-- Who holds a lock, by its fence, and for how long.
--
-- KEYS     1  the lock: a hash of token, fence, and until when it is held in µs
-- ARGV     none
-- Replies  false if it is free, or {fence, what is left of the lease in ms}
--
-- Atomic: fence and time left are of one holder.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local lock = redis.call('HMGET', KEYS[1], 'token', 'fence', 'until')
if not (lock[1] or lock[2] or lock[3]) then return false end
local fence, held_until = number(lock[2]), number(lock[3])
if not (lock[1] and fence and held_until) then return redis.error_reply('WRONGTYPE The key holds no lock') end
if held_until <= now then return false end
return {fence, math.ceil((held_until - now) / 1000)}
