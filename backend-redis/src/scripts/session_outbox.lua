-- In front of the scripts that end sessions, behind session_life: what is to be published of them.
--
-- A session that is published is a member of its bucket's set of expiries: its hash, and the escaped id of its user behind it.
-- Whoever takes the member out appends the news of its end to the outbox, in the same step; so each end is appended once.

-- For how long news are kept, and a member after the longest life of its session, ms.
local RETENTION = 604800000
-- How many entries an outbox takes; what comes then is counted in one more.
local MAX_ENTRIES = 10000
-- The length of a hash.
local HASH = 43

-- Before anything is written: an error for a set or an outbox of another type.
local function check(expiries, outbox)
  redis.call('ZCARD', expiries)
  redis.call('XLEN', outbox)
end

-- Of one that was rotated `to` is the text of the id under which it goes on.
local function append(outbox, news, hash, owner, at, to)
  if redis.call('XLEN', outbox) < MAX_ENTRIES then
    if to then
      redis.call('XADD', outbox, '*', 'news', news, 'hash', hash, 'user', owner, 'at', decimal(at), 'to', to)
    else
      redis.call('XADD', outbox, '*', 'news', news, 'hash', hash, 'user', owner, 'at', decimal(at))
    end
  else
    local last = redis.call('XREVRANGE', outbox, '+', '-', 'COUNT', 1)[1]
    local lost = 1
    if last[2][1] == 'lost' then
      lost = (number(last[2][2]) or 0) + 1
      redis.call('XDEL', outbox, last[1])
    end
    redis.call('XADD', outbox, '*', 'lost', decimal(lost))
  end
  redis.call('PEXPIRE', outbox, RETENTION)
end

-- The session under this key, which is still there, is ended now, for this reason. Of one that was created while its slot was
-- being moved it may not have been appended that it was.
local function end_now(key, expiries, outbox, reason, hash, owner, to)
  if redis.call('ZREM', expiries, hash .. owner) == 0 then return end
  local unpublished = redis.pcall('HGET', key, 'unpublished')
  if type(unpublished) == 'string' then append(outbox, 'created', hash, owner, number(unpublished) or now) end
  append(outbox, reason, hash, owner, now, to)
end

-- The session under this key had ended before: by time, or in a step of its own (session_end). Its key may be gone, and is
-- not touched. What was reserved and never confirmed is no session.
local function settle(key, expiries, outbox, hash, owner)
  if redis.call('ZREM', expiries, hash .. owner) == 0 then return end
  local news = redis.pcall('HMGET', key, 'reserved', 'unpublished', 'ended', 'at', 'next')
  if news.err then
    append(outbox, 'timed_out', hash, owner, now)
    return
  end
  if news[1] then return end
  if news[2] then append(outbox, 'created', hash, owner, number(news[2]) or now) end
  if news[3] then
    append(outbox, news[3], hash, owner, number(news[4]) or now, news[3] == 'rotated' and news[5])
  else
    local ends = life(redis.call('HMGET', key, unpack(LIFE)))
    append(outbox, 'timed_out', hash, owner, math.min(ends or now, now))
  end
end

-- A session of this hash is published, and needs the set for so many ms from now.
local function expect(expiries, hash, owner, ends, needed)
  redis.call('ZADD', expiries, decimal(math.ceil(ends / 1000)), hash .. owner)
  needed = needed + RETENTION
  if redis.call('PTTL', expiries) < needed then redis.call('PEXPIRE', expiries, decimal(needed)) end
end
