-- Sets a value and its time to live if a condition on what is there holds, and voids the lease on it.
-- KEYS     1 the entry, a string; 2 the lease on filling it, unless it was voided before.
-- ARGV     1 the condition: always, absent, present or equals; 2 the new bytes; 3 the time to live in ms;
--          4 the schema number of the new bytes, 0 for none; 5 the channel on which changes are published, or empty;
--          6 for equals: the expected bytes.
-- Replies  1 if it was set, 0 if the condition did not hold, 2 if what is there has a greater schema number and was
--          removed; error WRONGTYPE under a condition: without one a list or a hash is replaced.
-- One step: of any number that expect the same, one sets; and no lease from before the set outlives it.
local kind
if ARGV[1] ~= 'always' or ARGV[4] ~= '0' then
  kind = redis.call('TYPE', KEYS[1]).ok
end
if ARGV[1] ~= 'always' then
  if kind ~= 'none' and kind ~= 'string' then
    return redis.error_reply('WRONGTYPE the key holds no cache entry')
  end
  local holds
  if ARGV[1] == 'absent' then
    holds = kind == 'none'
  elseif ARGV[1] == 'present' then
    holds = kind == 'string'
  else
    holds = redis.call('GET', KEYS[1]) == ARGV[6]
  end
  if not holds then
    return 0
  end
end
local newer = false
if kind == 'string' and ARGV[4] ~= '0' then
  -- The header of a stored value: magic, version 2, two bytes, the schema number in four, big-endian.
  local magic, version, _, _, a, b, c, d = string.byte(redis.call('GETRANGE', KEYS[1], 0, 7), 1, 8)
  newer = magic == 181 and version == 2 and d ~= nil
    and ((a * 256 + b) * 256 + c) * 256 + d > tonumber(ARGV[4])
end
-- First, since what may be refused comes before what is written; it is delivered once the script has ended.
if ARGV[5] ~= '' then
  redis.call('PUBLISH', ARGV[5], KEYS[1])
end
if newer then
  redis.call('UNLINK', unpack(KEYS))
  return 2
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1
