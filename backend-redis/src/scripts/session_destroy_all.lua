-- Ends the sessions of a user, but for one.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
--          2  what the keys of the bucket's sessions begin with; itself no key
-- ARGV     1  the hash of the session to be kept, or empty
-- Replies  the hashes of the sessions that were ended, the oldest first
--
-- Atomic: a session that is created meanwhile comes wholly before or wholly after. The sessions' keys are
-- KEYS[2] and a hash behind the same tag, so they are in the slot that the server has checked. While that slot is
-- being moved, KEYS[2] is missing, and the server refuses the script. The index holds no more than a user may have.
-- What can't be read is ended with the others.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

local ended, listed = {}, {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if hash ~= ARGV[1] then
    listed[#listed + 1] = hash
    local session = redis.pcall('HMGET', KEYS[2] .. hash, 'used', 'idle', 'deadline')
    if session.err then
      if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
      ended[#ended + 1] = hash
    elseif session[1] or session[2] or session[3] then
      local used, idle, deadline = number(session[1]), number(session[2]), number(session[3])
      if not (used and idle and deadline) or math.min(used + idle * 1000, deadline) > now then
        ended[#ended + 1] = hash
      end
    end
  end
end

-- The index keeps its expiry, which is no sooner than that of the one session it may still list.
for _, hash in ipairs(listed) do
  redis.call('DEL', KEYS[2] .. hash)
  redis.call('ZREM', KEYS[1], hash)
end
return ended
