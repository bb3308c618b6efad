-- Behind session_outbox, in front of the scripts that have all keys of a user: what is in an index beside sessions that live.

-- Of a key whose session has ended: whether it is reserved, the hash of the session that is about to go on there (session_reserve),
-- and until when it leads to where it went on (session_supersede), if that is not over.
local function remains(key)
  local found = redis.call('HMGET', key, 'reserved', 'beside', 'until')
  local till = number(found[3])
  return found[1], found[1] and found[2], till and till > now and till
end

-- Takes a session that had ended out of the index of its user, with its key. What leads on after a rotation stays for its grace
-- (`till`).
local function clear(key, index, expiries, outbox, hash, owner, till)
  settle(key, expiries, outbox, hash, owner)
  if till then
    redis.call('PEXPIRE', key, decimal(math.ceil((till - now) / 1000)))
  else
    redis.call('DEL', key)
  end
  redis.call('ZREM', index, hash)
end
