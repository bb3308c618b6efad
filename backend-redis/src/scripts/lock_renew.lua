-- Renews a lease for its whole length from now.
--
-- KEYS     1  the lock: "token:fence"
--          2  the last fence
-- ARGV     1  the token
--          2  the lease, ms
--          3  how long the fence is kept, ms
-- Replies  1 if the token holds the lock, or 0
--
-- Atomic: nothing runs between comparing the token and renewing. A lease that has expired is not revived.
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^(%x+):') ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
