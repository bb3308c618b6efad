-- Gives an entry a new time to live.
-- KEYS     1 the entry, a string.
-- ARGV     1 the time to live in ms from now; 2 the channel on which changes are published, or empty.
-- Replies  1, or 0 if there is no entry; error WRONGTYPE, as PEXPIRE itself would touch a list or a hash.
-- One step, so that what was looked at is what is touched.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then
  return 0
elseif kind ~= 'string' then
  return redis.error_reply('WRONGTYPE the key holds no cache entry')
end
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], KEYS[1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
