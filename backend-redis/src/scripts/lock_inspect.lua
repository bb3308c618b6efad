-- Who holds a lock, by its fence, and for how long.
--
-- KEYS     1  the lock: "token:fence"
-- ARGV     none
-- Replies  false if it is free, or {fence, what is left of the lease in ms}
--
-- Atomic: fence and time left are of one holder.
local held = redis.call('GET', KEYS[1])
if not held then return false end
local fence = string.match(held, '^%x+:(%d+)$')
if not fence or #fence > 16 then return redis.error_reply('WRONGTYPE The key holds no lock') end
return {tonumber(fence), math.max(redis.call('PTTL', KEYS[1]), 1)}
