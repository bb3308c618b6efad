-- Ends whatever there is of a session, in a step on its key alone: one that lives, is reserved, or can't be read.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  the version that it must have if it lives, or empty
--          3  the reason, as it is published
--          4  1 to be answered what it was, and to leave alone what can't be read, was rotated away, or is about to go on here in
--             the place of another one; or empty
-- Replies  {1 if it lived or can't be read, 0, or 2 if it has another version and lives on; time in µs; its fields and values
--          if asked for, else the hash in whose place something was about to go on here, if it was}
--
-- Atomic: of several that end a session, one is answered that it lived. Where its end is to be published the key stays, without
-- its data, as that of a session that has ended, until the reaper finds it. It is never deleted and made anew: while the slot is
-- being moved a key can't be made at the node that it leaves.
local session = redis.pcall('HMGET', KEYS[1], 'version', unpack(LIFE))
local lived, owner, beside = true, false, false
if session.err then
  if ARGV[4] == '1' or not string.find(session.err, 'WRONGTYPE', 1, true) then return session end
else
  local ends = life({unpack(session, 2)})
  if ends and ends > now and ARGV[2] ~= '' and ARGV[2] ~= session[1] then return {2, now} end
  if ends == nil then
    lived = false
  elseif ends then
    lived = ends > now
    local published = redis.call('HMGET', KEYS[1], 'owner', 'reserved', 'beside', 'until')
    owner, beside = published[1] and not published[2], published[3]
    -- It was rotated away, and leads on.
    local till = number(published[4])
    if ARGV[4] == '' and till and till > now then return {0, now} end
  elseif ARGV[4] == '1' then
    return no_session()
  end
end
local reply = {0, now}
if ARGV[4] == '1' then
  reply[3] = redis.call('HGETALL', KEYS[1])
  if successor(reply[3]) or beside then return reply end
elseif beside then
  reply[3] = beside
end
-- Of what had ended the reaper publishes when, or why.
if owner and not lived then return reply end
if not owner then
  if redis.call('DEL', KEYS[1]) == 1 and lived then reply[1] = 1 end
  return reply
end
-- First what a server that is out of memory takes.
redis.call('HDEL', KEYS[1], 'version')
redis.call('HSET', KEYS[1], 'used', '0', 'idle', '0', 'deadline', '0', 'every', '0', 'version', '0', 'ended', ARGV[3],
  'at', decimal(now))
local fields = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'd:' then fields[#fields + 1] = field end
end
for i = 1, #fields, 1000 do
  redis.call('HDEL', KEYS[1], unpack(fields, i, math.min(i + 999, #fields)))
end
redis.call('PEXPIRE', KEYS[1], RETENTION)
reply[1] = 1
return reply
