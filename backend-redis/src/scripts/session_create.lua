-- Creates a session, in place of others of the user where the limit says so.
--
-- KEYS     1  the session
--          2  the user's index: a sorted set of session hashes, scored by time of creation
--          3  what the keys of the bucket's sessions begin with; itself no key
--          4  the bucket's set of expiries
--          5  its outbox
-- ARGV     1  see session_life
--          2  the hash of the session, with which KEYS[1] ends
--          3  the user
--          4  idle time, ms
--          5  absolute time, ms
--          6  how old a recorded use may be before the next is recorded, ms
--          7  1 if these times are its own, or empty
--          8  how many sessions the user may have
--          9  what makes room: none, oldest or least_recent
--          10 the hash of a session of the user whose place it takes, or empty
--          11 the version that this one must have
--          12 the escaped id of the user
--          13 1 if its creation and its end are to be published, or empty
--          14… fields as they are stored, each followed by its value
-- Replies  {"taken"}, {"full"}, {"between"}, {"conflict", version}, or {"created", created, deadline, expires in, 1 if it took the place of
--          another one or 0, evicted hashes…}, times in µs
--
-- Atomic: nothing runs between counting, evicting and inserting. The other sessions' keys are KEYS[3] and a hash
-- behind the same tag, so they are in the slot that the server has checked. While that slot is being moved, KEYS[3]
-- is missing, and the server refuses the script: it would not find what is on the other node. Every create takes out
-- of the index what has ended, and its key, so that a place that was reserved there (session_reserve) is not confirmed
-- any more; so the loop is bounded by the most sessions a user may have. A place that was reserved for a session that is rotated
-- stays: it counts in place of that one, once this has become a pointer to it. What can't be read is neither counted nor
-- touched. What is to be published of the new one, and of those that end or are found to have ended, is appended in the same
-- step.
check(KEYS[4], KEYS[5])
local limit, room = tonumber(ARGV[8]), ARGV[9]

-- What is at a key: end, last use and deadline of a live session; nil if there is none, false if it can't be read, and an
-- error.
local function look(key)
  local session = redis.pcall('HMGET', key, unpack(LIFE))
  if session.err then return false, session end
  local ends, used = life(session)
  if ends and ends <= now then return nil end
  return ends, used, tonumber(session[3])
end

local taken = look(KEYS[1])
if taken == false then return no_session() end
if taken then return {'taken'} end

-- Whose place it takes, if that is live and the user's: it is not counted. One that goes on under another id has changed.
local replaced
local hash = ARGV[10] ~= '' and ARGV[10]
for hop = 0, MAX_HOPS do
  if not hash then break end
  local key = KEYS[3] .. hash
  local ends = look(key)
  if ends then
    local found = redis.call('HMGET', key, 'user', 'version')
    if found[1] == ARGV[3] then
      if hop > 0 or found[2] ~= ARGV[11] then return {'conflict', number(found[2]) or 0} end
      replaced = hash
    end
  elseif ends == nil then
    local session = redis.call('HMGET', key, 'next', 'until', 'beside', 'user')
    if session[3] and session[4] == ARGV[3] then return {'between'} end
    hash = successor({'next', session[1], 'until', session[2]})
    hash = hash and hash_of(hash)
  end
  if ends ~= nil then break end
end

local live, ended, alive, rotating = {}, {}, {}, {}
local created = now
local members = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  -- By creation, and strictly so: the newest is last, and the new one comes after it.
  created = math.max(now, members[i + 1] + 1)
  local ends, used, deadline = look(KEYS[3] .. members[i])
  if ends then alive[members[i]] = true end
  if ends and members[i] == replaced then
    -- Removed below.
  elseif ends then
    live[#live + 1] = {hash = members[i], deadline = deadline, used = used, order = i}
  elseif ends == nil then
    local _, beside, till = remains(KEYS[3] .. members[i])
    if beside then
      rotating[#rotating + 1] = {hash = members[i], beside = beside, order = i}
    else
      ended[#ended + 1] = {hash = members[i], till = till}
    end
  elseif used and not string.find(used.err, 'WRONGTYPE', 1, true) then
    return used
  end
end

-- A session that is rotated is counted once: as the one that lives, or else as what is about to live.
local besides = {}
for _, session in ipairs(rotating) do
  if alive[session.beside] then
    besides[session.beside] = session.hash
  else
    live[#live + 1] = {hash = session.hash, deadline = 0, used = now, order = session.order}
  end
end
table.sort(live, function(a, b) return a.order < b.order end)

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
local function remove(hash, reason)
  end_now(KEYS[3] .. hash, KEYS[4], KEYS[5], reason, hash, ARGV[12])
  redis.call('DEL', KEYS[3] .. hash)
  redis.call('ZREM', KEYS[2], hash)
  local other = besides[hash]
  if other then clear(KEYS[3] .. other, KEYS[2], KEYS[4], KEYS[5], other, ARGV[12]) end
end

local at = decimal(created)
redis.call('ZADD', KEYS[2], at, ARGV[2])
-- An ended session may have had the same hash.
settle(KEYS[1], KEYS[4], KEYS[5], ARGV[2], ARGV[12])
for _, one in ipairs(ended) do
  if one.hash ~= ARGV[2] then
    clear(KEYS[3] .. one.hash, KEYS[2], KEYS[4], KEYS[5], one.hash, ARGV[12], one.till)
  end
end
local deadline = now + ARGV[5] * 1000
local longest = deadline
-- What is about to live does not say for how long.
if #rotating > 0 then longest = math.max(longest, now + redis.call('PTTL', KEYS[2]) * 1000) end
local reply = {'created', created, deadline, 0, replaced and 1 or 0}
if replaced then remove(replaced, 'replaced') end
for i, session in ipairs(live) do
  if i <= excess then
    remove(session.hash, 'evicted')
    reply[#reply + 1] = session.hash
  else
    longest = math.max(longest, session.deadline)
  end
end

local ends = begin(KEYS[1], ARGV[3], at, ARGV[4], deadline, ARGV[6], ARGV[7], 14)
reply[4] = ends - now
redis.call('PEXPIRE', KEYS[2], decimal(math.ceil((longest - now) / 1000)))
if ARGV[13] == '1' then
  redis.call('HSET', KEYS[1], 'owner', ARGV[12])
  expect(KEYS[4], ARGV[2], ARGV[12], ends, ARGV[5])
  append(KEYS[5], 'created', ARGV[2], ARGV[12], now)
end
return reply
