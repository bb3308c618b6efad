-- Reads the sessions of a user without their data, the newest first, and clears away what has ended.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
--          2  what the keys of the bucket's sessions begin with; itself no key
--          3  the bucket's set of expiries
--          4  its outbox
-- ARGV     1  see session_life
--          2  the escaped id of the user
-- Replies  {time in µs, 1 if a session is just going on under another id and is not among them, or 0, hash, {user, label, address,
--          version, used, idle, deadline, created, every, own}, hash, {…}, …}; the caller leaves out what can't be read
--
-- Atomic: all records are of one moment. The sessions' keys are KEYS[2] and a hash behind the same tag, so
-- they are in the slot that the server has checked. While that slot is being moved, KEYS[2] is missing, and the
-- server refuses the script. The index holds no more than a user may have. What is no hash is left out. A place that is reserved
-- (session_reserve) is left to whoever has it: it is confirmed, or expires soon.
local reply, ended, alive, besides = {now, 0}, {}, {}, {}
for _, hash in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
  local session = redis.pcall('HMGET', KEYS[2] .. hash, 'user', 'label', 'address', 'version', unpack(LIFE))
  if session.err then
    if not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
  else
    local ends = life({unpack(session, 5)})
    if ends == nil or ends and ends <= now then
      local reserved, beside, till = remains(KEYS[2] .. hash)
      if not reserved then
        ended[#ended + 1] = {hash = hash, till = till}
      elseif beside then
        besides[#besides + 1] = beside
      end
    else
      alive[hash] = true
      reply[#reply + 1] = hash
      reply[#reply + 1] = session
    end
  end
end
for _, beside in ipairs(besides) do
  if not alive[beside] then reply[2] = 1 end
end
if #ended > 0 then check(KEYS[3], KEYS[4]) end
for _, one in ipairs(ended) do
  clear(KEYS[2] .. one.hash, KEYS[1], KEYS[3], KEYS[4], one.hash, ARGV[2], one.till)
end
return reply
