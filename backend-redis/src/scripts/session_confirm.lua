-- Makes a session of a reservation.
--
-- KEYS     1  the session
-- ARGV     1  by what it is confirmed
--          2  its time of creation, µs
--          3  idle time, ms
--          4  absolute time, ms
-- Replies  {last use, deadline, expires in}, in µs; false if the reservation is gone
--
-- Atomic: it writes only to the reservation. Who ends the user's sessions meanwhile has removed that.
if redis.call('HGET', KEYS[1], 'reserved') ~= ARGV[1] then return false end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = now + ARGV[4] * 1000
local life = math.min(tonumber(ARGV[3]), tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], 'created', ARGV[2], 'used', string.format('%.0f', now), 'idle', ARGV[3],
  'deadline', string.format('%.0f', deadline), 'version', '1')
redis.call('HDEL', KEYS[1], 'reserved')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
return {now, deadline, life * 1000}
