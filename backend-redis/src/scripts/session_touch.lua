-- Renews the idle timeout of a session.
--
-- KEYS     1  the session
-- ARGV     none
-- Replies  false if there is none, or how long it lives without another use, in µs
--
-- Atomic: it writes only to a session that is there, so it never brings one back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local session = redis.call('HMGET', KEYS[1], 'used', 'idle', 'deadline')
if not (session[1] or session[2] or session[3]) then return false end
local used, idle, deadline = number(session[1]), number(session[2]), number(session[3])
if not (used and idle and deadline) then
  return redis.error_reply('WRONGTYPE The key holds no session')
end
if math.min(used + idle * 1000, deadline) <= now then return false end

local left = math.min(idle * 1000, deadline - now)
redis.call('HSET', KEYS[1], 'used', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(left / 1000)))
return left
