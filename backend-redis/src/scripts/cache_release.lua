-- Gives a lease back without a value.
-- KEYS     1 the lease: the holder's token.
-- ARGV     1 the token.
-- Replies  1 if it was the token's, or 0; error WRONGTYPE.
-- One step, so that only the caller's own lease is given back.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
