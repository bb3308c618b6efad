-- Changes when the reaper looks at sessions, while their slot is being moved and no script has all keys.
--
-- KEYS     1  the bucket's set of expiries
-- ARGV     1  add: they are put in, if they are not; due: those that are in are looked at in the next turn; drop: taken out
--          2  after how long they are looked at, ms
--          3  for how long the set is needed, ms
--          4… members
-- Replies  1
--
-- Atomic, as all it touches is one key.
local time = redis.call('TIME')
local at = string.format('%.0f', math.floor((time[1] * 1000000 + time[2]) / 1000) + ARGV[2])
for i = 4, #ARGV do
  if ARGV[1] == 'drop' then
    redis.call('ZREM', KEYS[1], ARGV[i])
  elseif ARGV[1] == 'due' then
    redis.call('ZADD', KEYS[1], 'XX', 'LT', at, ARGV[i])
  else
    redis.call('ZADD', KEYS[1], 'NX', at, ARGV[i])
  end
end
if ARGV[1] == 'add' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
