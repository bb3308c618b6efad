-- Removes entries that were published from an outbox, and the outbox and the claim on it if nothing is left.
--
-- KEYS     1  the outbox, a stream
--          2  who has a claim on it, with an expiry
-- ARGV     1  who has published
--          2… ids of entries
-- Replies  how many entries are left
--
-- Atomic: nothing is appended between looking whether it is empty and deleting it.
local holder = redis.call('GET', KEYS[2])
local left = redis.call('XLEN', KEYS[1])
if #ARGV > 1 then left = left - redis.call('XDEL', KEYS[1], unpack(ARGV, 2)) end
if left == 0 then
  redis.call('DEL', KEYS[1])
  if holder == ARGV[1] then redis.call('DEL', KEYS[2]) end
end
return left
