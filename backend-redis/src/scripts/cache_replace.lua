-- Sets a value if the key holds exactly the expected bytes.
-- KEYS[1]  the entry, a string.
-- ARGV     1 the expected bytes, 2 the new bytes, 3 the time to live in ms.
-- Replies  1 if it was set, 0 if not.
-- One step: of any number that expect the same bytes one sets.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
