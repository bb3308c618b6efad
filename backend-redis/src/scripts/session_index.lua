-- Reads the index of a user's sessions. Writes nothing.
--
-- KEYS     1  the user's index: a sorted set of session hashes, scored by time of creation
-- ARGV     none
-- Replies  {hash, score, hash, score, …}, the oldest first
--
-- Atomic, as all it reads is one key. A script, since a plain ZRANGE answers scores in another form to RESP3.
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
