-- Ends whatever there is of a session: one that lives, is reserved, or can't be read.
--
-- KEYS     1  the session
-- ARGV     none
-- Replies  1 if it lived or can't be read, or 0
--
-- Atomic: of several that end a session, one is answered that it lived.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local session = redis.pcall('HMGET', KEYS[1], 'used', 'idle', 'deadline')
local lived = true
if session.err then
  if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
elseif session[1] or session[2] or session[3] then
  local used, idle, deadline = number(session[1]), number(session[2]), number(session[3])
  lived = not (used and idle and deadline) or math.min(used + idle * 1000, deadline) > now
end
local removed = redis.call('DEL', KEYS[1])
return lived and removed or 0
