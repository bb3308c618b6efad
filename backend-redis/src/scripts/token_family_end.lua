-- Ends a family of refresh tokens.
--
-- KEYS     1  the family
-- ARGV     none
-- Replies  what was kept with it, or false if there is none
--
-- Atomic: of several one finds it.
local family = redis.call('HMGET', KEYS[1], 'data', 'ended', 'until')
if family[2] or not family[1] then return false end
local time = redis.call('TIME')
redis.call('DEL', KEYS[1])
local deadline = family[3] and #family[3] <= 16 and string.match(family[3], '^%d+$') and tonumber(family[3])
if deadline and deadline <= time[1] * 1000000 + time[2] then return false end
return family[1]
