-- Claims a name that can be used once.
--
-- KEYS     1  the name
-- ARGV     1  for how long, ms
-- Replies  1 if nobody has claimed it before, else 0
--
-- Atomic: of several, one finds nothing and sets it. A later one writes nothing.
if redis.call('GET', KEYS[1]) then return 0 end -- refuses another type
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
