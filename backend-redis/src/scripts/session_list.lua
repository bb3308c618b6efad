-- Reads the sessions of a user, the newest first.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
--          2  what the keys of the bucket's sessions begin with; itself no key
-- ARGV     none
-- Replies  {time in µs, hash, {field, value, …}, hash, {…}, …}; the caller leaves out what has ended by that time
--
-- Atomic: all records are of one moment. The sessions' keys are KEYS[2] and a hash behind the same tag, so
-- they are in the slot that the server has checked. While that slot is being moved, KEYS[2] is missing, and the
-- server refuses the script. The index holds no more than a user may have. What is no hash is left out.
local time = redis.call('TIME')
local reply = {time[1] * 1000000 + time[2]}
for _, hash in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
  local session = redis.pcall('HGETALL', KEYS[2] .. hash)
  if session.err then
    if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
  elseif #session > 0 then
    reply[#reply + 1] = hash
    reply[#reply + 1] = session
  end
end
return reply
