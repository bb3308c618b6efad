-- Gives a place in flight back.
--
-- KEYS     1  the subject's places: a sorted set, as in limit_lease.lua
-- ARGV     1  the holder
-- Replies  1 if the place was still held, 0 if its lease had ended or it was given back
--
-- Atomic: nothing runs between reading and removing. With the last place the key goes.
local time = redis.call('TIME')
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('ZCARD', KEYS[1]) == 1 and redis.call('ZSCORE', KEYS[1], '*') then redis.call('DEL', KEYS[1]) end
return tonumber(ends) > time[1] * 1000000 + time[2] and 1 or 0
