-- Reads a session.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
-- Replies  false, or {time in µs, {field, value, …}}; the caller leaves out what has ended by that time
--
-- Atomic: the record, and the time by which it has expired or not, belong together.
local session = redis.call('HGETALL', KEYS[1])
if #session == 0 then return false end
return {now, session}
