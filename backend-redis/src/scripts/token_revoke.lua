-- Revokes one token.
--
-- KEYS     1  the token
-- ARGV     1  for how long, ms
--          2  the channel on which changes are published, or empty
-- Replies  1
--
-- Atomic: nothing runs between reading the life of an earlier revocation and setting the longer one.
redis.call('GET', KEYS[1]) -- refuses another type
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], KEYS[1])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1
