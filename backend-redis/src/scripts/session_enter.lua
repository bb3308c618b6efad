-- Puts a reserved session into the index of its user, if the index is still as it was read.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
-- ARGV     1  see session_life
--          2  the hash of the session
--          3  for how long the index is needed, ms
--          4  how many hashes were read
--          5… these and their scores, in their order; then hashes to be taken out
-- Replies  the time of creation in µs, or false if the index has changed
--
-- Atomic: nothing runs between comparing and adding, so nobody else's session comes in between counting and this.
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local last = 4 + 2 * ARGV[4]
if #members ~= last - 4 then return false end
for i = 1, #members do
  if members[i] ~= ARGV[4 + i] then return false end
end
local created = now
if #members > 0 then created = math.max(created, members[#members] + 1) end
redis.call('ZADD', KEYS[1], decimal(created), ARGV[2])
for i = last + 1, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return created
