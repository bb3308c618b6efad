-- Sets and removes data fields of a session, and adds one to its version. It is a use of the session.
--
-- KEYS     1  the session
-- ARGV     1  the version it must have, or empty
--          2  how many arguments are fields to set and their values
--          3… fields as they are stored, each followed by its value; then fields to remove
-- Replies  {"gone"}, {"conflict", version} or {"saved", version}
--
-- Atomic: nothing runs between comparing the version and writing. It writes only to a session that is there,
-- so it never brings one back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first_removed = 3 + ARGV[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local session = redis.call('HMGET', KEYS[1], 'used', 'idle', 'deadline', 'version')
if not (session[1] or session[2] or session[3] or session[4]) then return {'gone'} end
local used, idle, deadline, version =
  number(session[1]), number(session[2]), number(session[3]), number(session[4])
if not (used and idle and deadline and version) then
  return redis.error_reply('WRONGTYPE The key holds no session')
end
if math.min(used + idle * 1000, deadline) <= now then return {'gone'} end
if ARGV[1] ~= '' and ARGV[1] ~= session[4] then return {'conflict', version} end

version = version + 1
-- First what the server refuses when it is out of memory: after any other write it would let all the rest in.
redis.call('HSET', KEYS[1], 'used', string.format('%.0f', now), 'version', string.format('%.0f', version))
-- In pieces, since Lua's stack is bounded. A field in both is set, so removing comes first.
for i = first_removed, #ARGV, 1000 do
  redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
for i = 3, first_removed - 1, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, first_removed - 1)))
end
local left = math.min(idle * 1000, deadline - now)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(left / 1000)))
return {'saved', version}
