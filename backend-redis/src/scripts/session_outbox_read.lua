-- Claims an outbox and reads its first entries, which stay.
--
-- KEYS     1  the outbox, a stream
--          2  who has a claim on it, with an expiry
-- ARGV     1  who asks
--          2  for how long, ms
--          3  how many entries at most
-- Replies  {{id, {field, value, …}}, …}, or false if another has a claim
--
-- Atomic: nothing runs between looking at the claim and taking it. An empty outbox is not claimed.
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[3])
if #entries == 0 then return entries end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return false end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return entries
