-- Renews the idle timeout of a session.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
-- Replies  false if there is none; how long it lives without another use, in µs; or {time in µs, {"next", …, "until", …,
--          "beside", …}} of one that has ended: to where it leads if it was rotated away, or what is about to go on here
--
-- Atomic: it writes only to a session that is there, so it never brings one back.
local session = redis.call('HMGET', KEYS[1], unpack(LIFE))
local ends = life(session)
if ends == nil then return false end
if not ends then return no_session() end
if ends <= now then
  local to = redis.call('HMGET', KEYS[1], 'next', 'until', 'beside')
  return {now, {'next', to[1], 'until', to[2], 'beside', to[3]}}
end

session[1] = decimal(now)
ends = life(session)
-- The expiry first, as in session_use.
expire(KEYS[1], ends)
redis.call('HSET', KEYS[1], 'used', session[1])
return ends - now
