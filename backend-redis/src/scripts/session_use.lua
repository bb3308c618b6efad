-- Reads a session, and records its use where that is due. Otherwise it writes nothing.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
-- Replies  false, or {time in µs, {field, value, …}}; the caller leaves out what has ended by that time
--
-- Atomic: it writes only to a session that is there, so it never brings one back, and what it answers is what it used.
local session = redis.call('HGETALL', KEYS[1])
if #session == 0 then return false end
local values, at = life_of(session)
local ends, used, every = life(values)
if ends == nil then return false end
if not ends then return no_session() end
-- One that was rotated away: the caller looks where it leads.
if ends <= now then return {now, session} end

if now - used >= every then
  values[1], session[at] = decimal(now), decimal(now)
  -- The expiry first, which a server that is out of memory takes; so it takes the rest too, which needs no more room than
  -- what is there: who has a session goes on.
  expire(KEYS[1], (life(values)))
  redis.call('HSET', KEYS[1], 'used', values[1])
end
return {now, session}
