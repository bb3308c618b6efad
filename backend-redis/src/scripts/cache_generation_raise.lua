-- Makes one copy of the generation of a tag greater, on a Cluster, where there are three of each.
-- KEYS     1 the copy, a decimal number.
-- ARGV     1 the least number that is this caller's, 2 the greatest, which is stored; 3 how long it is kept, ms; 4 the channel on
--          which changes are published, or empty.
-- Replies  an array: 1 and the number that is stored now; or 0 and the number that is there, if that is not less than the
--          caller's least; errors WRONGTYPE and NOTANUMBER.
-- One step: a copy never gets less, and takes no number twice, whoever raises it at the same time.
local last = redis.call('GET', KEYS[1])
if last then
  if #last > 16 or not string.match(last, '^%d+$') then
    return redis.error_reply('NOTANUMBER the key holds no generation')
  end
  if tonumber(last) >= tonumber(ARGV[1]) then
    return { 0, tonumber(last) }
  end
end
if ARGV[4] ~= '' then
  redis.call('PUBLISH', ARGV[4], KEYS[1])
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return { 1, tonumber(ARGV[2]) }
