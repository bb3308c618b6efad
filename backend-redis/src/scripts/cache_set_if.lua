-- Sets a value and its time to live if a condition on what is there holds.
-- KEYS[1]  the entry, a string.
-- ARGV     1 the condition: absent, present or equals; 2 the new bytes; 3 the time to live in ms;
--          4 for equals: the expected bytes.
-- Replies  1 if it was set, 0 if not; error WRONGTYPE, as SET itself would replace a list or a hash.
-- One step: of any number that expect the same, one sets.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then
  return redis.error_reply('WRONGTYPE the key holds no cache entry')
end
local holds
if ARGV[1] == 'absent' then
  holds = kind == 'none'
elseif ARGV[1] == 'present' then
  holds = kind == 'string'
else
  holds = redis.call('GET', KEYS[1]) == ARGV[4]
end
if not holds then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
