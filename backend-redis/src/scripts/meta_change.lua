-- Changes a field of the record of this deployment's layout, if it is still what was read.
--
-- KEYS     1  the record, a hash
-- ARGV     1  the field
--          2  what was read
--          3  what it is to be
-- Replies  1, or 0 if it is something else by now
--
-- Atomic: nothing runs between comparing and writing.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
