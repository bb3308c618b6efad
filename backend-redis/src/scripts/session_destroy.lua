-- Ends a session and answers what it was.
--
-- KEYS     1  the session
--          2  the bucket's set of expiries
--          3  its outbox
--          4  what all keys of the bucket begin with; itself no key
-- ARGV     1  see session_life
--          2  the hash of the session, with which KEYS[1] ends
-- Replies  false, or {time in µs, {field, value, …}}; the caller leaves out what had ended by that time
--
-- Atomic: of several that end a session, one is answered the record, and its news are appended in the same step. The index of
-- the user is KEYS[4] and the field of the record that names its owner, behind the same tag, so it is in the slot that the server
-- has checked. Where there is no such field, since nothing is published of the session, the index keeps the hash until the user's
-- next session is created or all are listed: an entry without a session is passed over by all who read the index. While the slot
-- is being moved, KEYS[4] is missing, and the server refuses the script.
local session = redis.call('HGETALL', KEYS[1])
if #session == 0 then return false end
local ends, version = (life((life_of(session)))), version_of(session)
if ends == nil and version == nil then return false end
if not (ends and version) then return no_session() end
-- What was rotated away leads on, until its grace is over: the caller ends what it leads to, and asks again for what is about to
-- go on here.
if successor(session) or is_between(session) then return {now, session} end
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner then
  check(KEYS[2], KEYS[3])
  if ends > now then
    end_now(KEYS[1], KEYS[2], KEYS[3], 'destroyed', ARGV[2], owner)
  else
    settle(KEYS[1], KEYS[2], KEYS[3], ARGV[2], owner)
  end
  redis.pcall('ZREM', KEYS[4] .. 'u:' .. owner, ARGV[2])
end
redis.call('DEL', KEYS[1])
return {now, session}
