-- Ends the sessions of a user, but for one.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
--          2  what the keys of the bucket's sessions begin with; itself no key
--          3  the bucket's set of expiries
--          4  its outbox
-- ARGV     1  see session_life
--          2  the hash of the session to be kept, also where it goes on under another one; or empty
--          3  the escaped id of the user
-- Replies  the hashes of the sessions that were ended, the oldest first
--
-- Atomic: a session that is created meanwhile comes wholly before or wholly after. The sessions' keys are
-- KEYS[2] and a hash behind the same tag, so they are in the slot that the server has checked. While that slot is
-- being moved, KEYS[2] is missing, and the server refuses the script. The index holds no more than a user may have.
-- What can't be read is ended with the others. The news of all are appended in the same step. A session that is just going on under
-- another id (session_reserve, session_supersede) is ended under that, unless it is the one to be kept.
check(KEYS[3], KEYS[4])
local kept = ARGV[2] ~= '' and ARGV[2]
for _ = 1, MAX_HOPS do
  local session = kept and redis.pcall('HMGET', KEYS[2] .. kept, 'next', 'until')
  local to = session and not session.err and successor({'next', session[1], 'until', session[2]})
  if not to then break end
  kept = hash_of(to)
end

local ended, listed, lives, besides, tills = {}, {}, {}, {}, {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if hash ~= kept then
    local session = redis.pcall('HMGET', KEYS[2] .. hash, unpack(LIFE))
    if session.err then
      if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
      lives[hash] = true
    else
      local ends = life(session)
      lives[hash] = ends == false or ends and ends > now
      if not lives[hash] then
        local _
        _, besides[hash], tills[hash] = remains(KEYS[2] .. hash)
      end
    end
    if not (besides[hash] and besides[hash] == kept) then listed[#listed + 1] = hash end
  end
end

-- The index keeps its expiry, which is no sooner than that of the one session it may still list. First what was rotated away: its
-- news come before those of what it has become.
for _, hash in ipairs(listed) do
  if tills[hash] then clear(KEYS[2] .. hash, KEYS[1], KEYS[3], KEYS[4], hash, ARGV[3], tills[hash]) end
end
for _, hash in ipairs(listed) do
  if lives[hash] or besides[hash] and not lives[besides[hash]] then
    ended[#ended + 1] = hash
    end_now(KEYS[2] .. hash, KEYS[3], KEYS[4], 'destroyed', hash, ARGV[3])
    redis.call('DEL', KEYS[2] .. hash)
    redis.call('ZREM', KEYS[1], hash)
  elseif not tills[hash] then
    clear(KEYS[2] .. hash, KEYS[1], KEYS[3], KEYS[4], hash, ARGV[3])
  end
end
return ended
