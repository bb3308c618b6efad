-- Ends the sessions of a user, but for one.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
--          2  what the keys of the bucket's sessions begin with; itself no key
--          3  the bucket's set of expiries
--          4  its outbox
-- ARGV     1  see session_life
--          2  the hash of the session to be kept, or empty
--          3  the escaped id of the user
-- Replies  the hashes of the sessions that were ended, the oldest first
--
-- Atomic: a session that is created meanwhile comes wholly before or wholly after. The sessions' keys are
-- KEYS[2] and a hash behind the same tag, so they are in the slot that the server has checked. While that slot is
-- being moved, KEYS[2] is missing, and the server refuses the script. The index holds no more than a user may have.
-- What can't be read is ended with the others. The news of all are appended in the same step.
check(KEYS[3], KEYS[4])
local ended, listed, lives = {}, {}, {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if hash ~= ARGV[2] then
    listed[#listed + 1] = hash
    local session = redis.pcall('HMGET', KEYS[2] .. hash, unpack(LIFE))
    if session.err then
      if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
      ended[#ended + 1], lives[hash] = hash, true
    else
      local ends = life(session)
      if ends == false or ends and ends > now then ended[#ended + 1], lives[hash] = hash, true end
    end
  end
end

-- The index keeps its expiry, which is no sooner than that of the one session it may still list.
for _, hash in ipairs(listed) do
  if lives[hash] then
    end_now(KEYS[2] .. hash, KEYS[3], KEYS[4], 'destroyed', hash, ARGV[3])
  else
    settle(KEYS[2] .. hash, KEYS[3], KEYS[4], hash, ARGV[3])
  end
  redis.call('DEL', KEYS[2] .. hash)
  redis.call('ZREM', KEYS[1], hash)
end
return ended
