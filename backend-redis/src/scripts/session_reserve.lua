-- Stores a session that is not there yet for anybody else: it has ended for all who read it, until it is confirmed.
--
-- KEYS     1  the session
-- ARGV     1  by what it is confirmed
--          2  the user
--          3  for how long it can be, ms
--          4… data fields as they are stored, each followed by its value
-- Replies  1; 0 if there is a session or another's reservation; 2 if what had ended there was removed: once more
--
-- Atomic: nothing runs between seeing the place free and taking it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local session = redis.call('HMGET', KEYS[1], 'used', 'idle', 'deadline', 'reserved')
if session[4] then
  if session[4] ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 1
end
if session[1] or session[2] or session[3] then
  local used, idle, deadline = number(session[1]), number(session[2]), number(session[3])
  if not (used and idle and deadline) then
    return redis.error_reply('WRONGTYPE The key holds no session')
  end
  if math.min(used + idle * 1000, deadline) > now then return 0 end
  -- Not in one script with the next: while the slot is being moved, a new key can't be made at the node that it leaves.
  redis.call('DEL', KEYS[1])
  return 2
end
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'created', '0', 'used', '0', 'idle', '0', 'deadline', '0',
  'version', '0', 'reserved', ARGV[1])
-- In pieces, since Lua's stack is bounded.
for i = 4, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
