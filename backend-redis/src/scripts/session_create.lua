-- Creates a session, in place of others of the user where the limit says so.
--
-- KEYS     1  the session
--          2  the user's index: a sorted set of session hashes, scored by time of creation
--          3  what the keys of the bucket's sessions begin with; itself no key
-- ARGV     1  the hash of the session, with which KEYS[1] ends
--          2  the user
--          3  idle time, ms
--          4  absolute time, ms
--          5  how many sessions the user may have
--          6  what makes room: none, oldest or least_recent
--          7… data fields as they are stored, each followed by its value
-- Replies  {"taken"}, {"full"}, or {"created", created, deadline, expires in, evicted hashes…}, in µs
--
-- Atomic: nothing runs between counting, evicting and inserting. The other sessions' keys are KEYS[3] and a hash
-- behind the same tag, so they are in the slot that the server has checked. While that slot is being moved, KEYS[3]
-- is missing, and the server refuses the script: it would not find what is on the other node. Every create takes out
-- of the index what has ended, and its key, so that a place that was reserved there (session_reserve) is not confirmed
-- any more; so the loop is bounded by the most sessions a user may have. What can't be read is neither counted nor
-- touched.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, room = tonumber(ARGV[5]), ARGV[6]

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

-- Deadline and last use of a live session; nil if there is none, false if it can't be read, and an error.
local function life(key)
  local session = redis.pcall('HMGET', key, 'used', 'idle', 'deadline')
  if session.err then return false, session end
  if not (session[1] or session[2] or session[3]) then return nil end
  local used, idle, deadline = number(session[1]), number(session[2]), number(session[3])
  if not (used and idle and deadline) then return false end
  if math.min(used + idle * 1000, deadline) <= now then return nil end
  return deadline, used
end

local taken = life(KEYS[1])
if taken == false then return redis.error_reply('WRONGTYPE The key holds no session') end
if taken then return {'taken'} end

local live, ended = {}, {}
local created = now
local members = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  -- By creation, and strictly so: the newest is last, and the new one comes after it.
  created = math.max(now, members[i + 1] + 1)
  local deadline, used = life(KEYS[3] .. members[i])
  if deadline then
    live[#live + 1] = {hash = members[i], deadline = deadline, used = used, order = i}
  elseif deadline == nil then
    ended[#ended + 1] = members[i]
  elseif used and not string.find(used.err, 'WRONGTYPE', 1, true) then
    return used
  end
end

local excess = #live - limit + 1
if excess > 0 and room == 'none' then return {'full'} end
if room == 'least_recent' then
  table.sort(live, function(a, b)
    if a.used == b.used then return a.order < b.order end
    return a.used < b.used
  end)
end

-- Everything is read and checked; from here on it is written. First what the server refuses when it is out of
-- memory: after any other write it would let all the rest in.
local at = string.format('%.0f', created)
redis.call('ZADD', KEYS[2], at, ARGV[1])
for _, hash in ipairs(ended) do
  -- An ended session may have had the same hash.
  if hash ~= ARGV[1] then
    redis.call('DEL', KEYS[3] .. hash)
    redis.call('ZREM', KEYS[2], hash)
  end
end
local deadline = now + ARGV[4] * 1000
local longest = deadline
local life_ms = math.min(tonumber(ARGV[3]), tonumber(ARGV[4]))
local reply = {'created', created, deadline, life_ms * 1000}
for i, session in ipairs(live) do
  if i <= excess then
    redis.call('DEL', KEYS[3] .. session.hash)
    redis.call('ZREM', KEYS[2], session.hash)
    reply[#reply + 1] = session.hash
  else
    longest = math.max(longest, session.deadline)
  end
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'created', at, 'used', at, 'idle', ARGV[3],
  'deadline', string.format('%.0f', deadline), 'version', '1')
-- In pieces, since Lua's stack is bounded.
for i = 7, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life_ms))
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.ceil((longest - now) / 1000)))
return reply
