-- Opens a family of refresh tokens.
--
-- KEYS     1  the family
-- ARGV     1  the hash of its first token
--          2  what is kept with it
--          3  its idle time, ms
--          4  how long it lives at most, ms
-- Replies  1, or 0 if there is one
--
-- Atomic: nothing runs between looking for one and setting fields and expiry.
if redis.call('HGET', KEYS[1], 'current') then return 0 end -- refuses another type
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = string.format('%.0f', now + ARGV[4] * 1000)
redis.call('HSET', KEYS[1], 'current', ARGV[1], 'data', ARGV[2], 'until', deadline)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(ARGV[3], ARGV[4])))
return 1
