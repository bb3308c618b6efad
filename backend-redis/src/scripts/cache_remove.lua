-- Removes an entry, of whatever type, and voids the lease on it.
-- KEYS     1 the entry; 2 the lease on filling it, unless it was voided before.
-- ARGV     1 the channel on which changes are published, or empty.
-- Replies  1 if there was an entry, or 0. A plain UNLINK of both would count the lease for an entry.
-- One step: what was loaded before the removal can't be stored after it.
if ARGV[1] ~= '' then
  redis.call('PUBLISH', ARGV[1], KEYS[1])
end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return redis.call('UNLINK', KEYS[1])
