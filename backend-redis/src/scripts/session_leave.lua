-- Takes out of a user's index the sessions that have ended, unless they were created anew.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
-- ARGV     hashes and the scores that they had, in turn
-- Replies  how many were taken out
--
-- Atomic: nothing runs between comparing a score and taking its hash out.
local scores = {}
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  scores[members[i]] = members[i + 1]
end
local left = 0
for i = 1, #ARGV, 2 do
  if scores[ARGV[i]] == ARGV[i + 1] then
    left = left + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return left
