-- Makes a session of a reservation.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  by what it is confirmed
--          3  its time of creation, µs
--          4  idle time, ms
--          5  absolute time, ms
--          6  how old a recorded use may be before the next is recorded, ms
--          7  1 if these times are its own, or empty
--          8  its absolute deadline in µs, or empty: then that follows from the absolute time
--          9  its version
--          10 the escaped id of the user if it is published, or empty
--          11 1 if its creation is to be published, or empty
-- Replies  {last use, deadline, expires in}, in µs; false if the reservation is gone, or the session's time is over
--
-- Atomic: it writes only to the reservation. Who ends the user's sessions meanwhile has removed that. The
-- reaper publishes the creation, since the outbox may be at another node now.
if redis.call('HGET', KEYS[1], 'reserved') ~= ARGV[2] then return false end
local deadline = ARGV[8] ~= '' and tonumber(ARGV[8]) or now + ARGV[5] * 1000
local ends = life({decimal(now), ARGV[4], decimal(deadline), ARGV[3], ARGV[6], ARGV[7] ~= '' and '1'})
if ends <= now then
  redis.call('DEL', KEYS[1])
  return false
end
redis.call('HSET', KEYS[1], 'created', ARGV[3], 'used', decimal(now), 'idle', ARGV[4], 'deadline', decimal(deadline),
  'version', ARGV[9], 'every', ARGV[6])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'own', '1') end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'owner', ARGV[10]) end
if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 'unpublished', decimal(now)) end
redis.call('HDEL', KEYS[1], 'reserved', 'beside')
expire(KEYS[1], ends)
return {now, deadline, ends - now}
