-- Ends the sessions of a bucket whose time is over, and says what waits to be published.
--
-- KEYS     1  the bucket's set of expiries
--          2  its outbox
--          3  what all keys of the bucket begin with; itself no key
-- ARGV     1  see session_life
--          2  how many sessions are looked at, at most
-- Replies  {sessions that had ended, 1 if more may be due, entries in the outbox, for how long the first has waited in ms}
--
-- Atomic: nothing runs between looking at a session's own deadline and ending it, so one that was just used is not ended. The
-- score of a member is the deadline when the session was created or last looked at here, and never after its present one: a
-- use moves the record and not the score. The other keys are KEYS[3] and what a member says, behind the same tag, so they are in
-- the slot that the server has checked. While that slot is being moved, KEYS[3] is missing, and the server refuses the script.
-- What the outbox has no room for is left for another time.
local now_ms = math.floor(now / 1000)

-- Each may need two entries.
local room = math.floor((MAX_ENTRIES - redis.call('XLEN', KEYS[2])) / 2)
local limit, due = math.min(tonumber(ARGV[2]), room), {}
if limit > 0 then
  due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'LIMIT', 0, limit)
end

local kept = redis.call('PTTL', KEYS[1])
local count, later = 0, {}
for _, member in ipairs(due) do
  local hash, owner = string.sub(member, 1, HASH), string.sub(member, HASH + 1)
  local key = KEYS[3] .. 's:' .. hash
  local session = redis.pcall('HMGET', key, unpack(LIFE))
  if session.err and not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
  local ends = not session.err and life(session)
  local flags = session.err and {} or redis.call('HMGET', key, 'reserved', 'unpublished', 'until')
  if flags[1] then
    -- Somebody is creating it; its key expires soon if that is broken off.
    later[#later + 1] = {member = member, at = now_ms + 10000}
  elseif (number(flags[3]) or 0) > now then
    -- It was rotated, and leads on until then.
    later[#later + 1] = {member = member, at = math.ceil(number(flags[3]) / 1000)}
  elseif ends and ends > now then
    later[#later + 1] = {member = member, at = math.ceil(ends / 1000), key = key, unpublished = flags[2]}
  else
    settle(key, KEYS[1], KEYS[2], hash, owner)
    -- What can't be read is left alone, as everywhere.
    if ends ~= false then
      redis.call('DEL', key)
      redis.pcall('ZREM', KEYS[3] .. 'u:' .. owner, hash)
    end
    count = count + 1
  end
end
for _, session in ipairs(later) do
  -- Taken out first: a server that is out of memory refuses to add, unless something was written before.
  redis.call('ZREM', KEYS[1], session.member)
  redis.call('ZADD', KEYS[1], decimal(session.at), session.member)
  if session.unpublished then
    local hash, owner = string.sub(session.member, 1, HASH), string.sub(session.member, HASH + 1)
    redis.call('HDEL', session.key, 'unpublished')
    append(KEYS[2], 'created', hash, owner, number(session.unpublished) or now)
  end
end
-- Without members there was no set for a moment, and so no expiry.
if #later > 0 and redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], decimal(math.max(kept, RETENTION)))
end

local waited = 0
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then waited = math.max(0, now_ms - tonumber(string.match(first[1], '^%d+'))) end
local more = 0
if limit > 0 and #due == limit then more = 1 end
return {count, more, redis.call('XLEN', KEYS[2]), waited}
