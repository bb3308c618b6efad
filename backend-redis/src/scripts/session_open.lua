-- Creates a session of nobody yet.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  idle time, ms
--          3  absolute time, ms
--          4  how old a recorded use may be before the next is recorded, ms
--          5  1 if these times are its own, or empty
--          6… fields as they are stored, each followed by its value
-- Replies  {"taken"}, or {"created", created, deadline, expires in}, in µs
--
-- Atomic: nothing runs between seeing the place free and taking it.
local ends = life(redis.call('HMGET', KEYS[1], unpack(LIFE)))
if ends == false then return no_session() end
if ends and ends > now then return {'taken'} end
local deadline = now + ARGV[3] * 1000
ends = begin(KEYS[1], '', decimal(now), ARGV[2], deadline, ARGV[4], ARGV[5], 6)
return {'created', now, deadline, ends - now}
