-- Enters a session into the index of its user at the place of another one, in which both stand then.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
-- ARGV     1  see session_life
--          2  the hash of the session that is there
--          3  the hash of the other one
--          4  the score of the first, if it is not there
--          5  for how long the index is needed, ms
-- Replies  the score
--
-- Atomic, as all it writes is one key.
local score = redis.call('ZSCORE', KEYS[1], ARGV[2]) or ARGV[4]
redis.call('ZADD', KEYS[1], score, ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
return redis.call('ZSCORE', KEYS[1], ARGV[3])
