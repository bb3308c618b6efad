-- Releases a lock if the token holds it.
--
-- KEYS     1  the lock: "token:fence"
-- ARGV     1  the token
-- Replies  1 if the token held the lock, or 0
--
-- Atomic: nothing runs between comparing the token and deleting, so nobody else's lock is released.
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^(%x+):') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
