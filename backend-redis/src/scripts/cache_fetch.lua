-- Reads an entry, or takes the lease on filling it.
-- KEYS     1 the entry, a string; 2 the lease: the holder's token, or 'failed' after a load that has failed.
-- ARGV     1 the token; 2 the lease in ms; 3 when it is wanted: absent (if there is no entry), anyway, or keep (only
--          if the token holds it already); 4 'despite' to take it also after a load that has failed, or empty.
-- Replies  an array: 0 and the bytes of an entry that makes a lease needless; or 1 for a lease that is the token's
--          now, or 2 and what is left in ms of another's, or 3 and for how many ms a failure is remembered, each with
--          the bytes of an entry that is there all the same; error WRONGTYPE.
-- One step: of any number that miss together, one gets the lease. Asking again with the token renews it.
if ARGV[3] == 'keep' then
  -- Never taken anew: a write may have voided it, and what is being loaded is from before that.
  local kept = redis.call('GET', KEYS[2])
  if kept == ARGV[1] then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    return { 1, 0 }
  end
  if kept == 'failed' then
    return { 2, 0 }
  end
  return { 2, math.max(redis.call('PTTL', KEYS[2]), 0) }
end
local value = redis.call('GET', KEYS[1]) -- refuses another type
if value and ARGV[3] == 'absent' then
  return { 0, 0, value }
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[2])
  -- One without an end is none of ours, and would keep everybody waiting for ever.
  if left >= 0 and holder ~= 'failed' then
    return { 2, left, value }
  end
  if left >= 0 and ARGV[4] ~= 'despite' then
    return { 3, left, value }
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return { 1, 0, value }
