-- Ends a session and answers what it was.
--
-- KEYS     1  the session
-- ARGV     none
-- Replies  false, or {time in µs, {field, value, …}}; the caller leaves out what had ended by that time
--
-- Atomic: of several that end a session, one is answered the record. The user's index, whose key only the
-- record names, keeps the hash until the user's next session is created: an entry without a session is
-- passed over by all who read the index.
local session = redis.call('HMGET', KEYS[1], 'created', 'used', 'idle', 'deadline', 'version')
if not (session[1] or session[2] or session[3] or session[4] or session[5]) then return false end
for _, number in ipairs(session) do
  if not (number and #number <= 16 and string.match(number, '^%d+$')) then
    return redis.error_reply('WRONGTYPE The key holds no session')
  end
end
local time = redis.call('TIME')
local record = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
return {time[1] * 1000000 + time[2], record}
