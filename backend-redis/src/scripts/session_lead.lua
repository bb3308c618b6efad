-- Takes or keeps the right to reap the sessions of a service.
--
-- KEYS     1  who has it, with an expiry
-- ARGV     1  who asks
--          2  for how long, ms
-- Replies  1 if the one who asks has it now, or 0
--
-- Atomic: nothing runs between looking and taking.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
