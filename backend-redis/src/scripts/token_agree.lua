-- Records those settings of a service's tokens that are not recorded yet, and answers what is recorded then.
--
-- KEYS     1  the settings, a hash. It has no expiry: losing it would let services with other settings use the tokens.
-- ARGV     1  the longest life of a token, ms; empty for none
--          2  the longest life that is replaced by it, ms; empty for none
--          3  the issuer; empty for none
--          4  the longest life of refresh tokens, ms; empty for none. It only grows
-- Replies  {longest life in ms, issuer, longest life of refresh tokens in ms}, empty where nothing is recorded
--
-- Atomic: of several that start together, one records and all are answered the same.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
  return redis.error_reply('WRONGTYPE The key holds no settings of tokens')
end
local life = redis.call('HGET', KEYS[1], 'max_life')
local issuer = redis.call('HGET', KEYS[1], 'issuer')
if life and not (#life <= 16 and string.match(life, '^%d+$')) then
  return redis.error_reply('NOTANUMBER The recorded longest life is no number')
end
local families = redis.call('HGET', KEYS[1], 'family_life')
if families and not (#families <= 16 and string.match(families, '^%d+$')) then
  return redis.error_reply('NOTANUMBER The recorded longest life of refresh tokens is no number')
end
if ARGV[1] ~= '' and (not life or life == ARGV[2]) then
  life = ARGV[1]
  redis.call('HSET', KEYS[1], 'max_life', life)
end
if not issuer and ARGV[3] ~= '' then
  issuer = ARGV[3]
  redis.call('HSET', KEYS[1], 'issuer', issuer)
end
if ARGV[4] ~= '' and (not families or tonumber(families) < tonumber(ARGV[4])) then
  families = ARGV[4]
  redis.call('HSET', KEYS[1], 'family_life', families)
end
return {life or '', issuer or '', families or ''}
