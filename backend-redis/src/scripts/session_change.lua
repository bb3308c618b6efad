-- Behind session_life, in front of the scripts that write fields: what a session holds, and how it is begun and changed.

-- How many data fields a session holds, and how many bytes in their names and values, if of `session` (fields and values in
-- turn) those are replaced or removed that stand in ARGV from `first` on: `count` arguments that are fields and values to be
-- set, and then fields to be removed.
local function holding(session, first, count)
  local fields, bytes, changed = 0, 0, {}
  local function add(name, value)
    if string.sub(name, 1, 2) == 'd:' then
      fields, bytes = fields + 1, bytes + #name - 2 + #value
    end
  end
  for i = first + count, #ARGV do changed[ARGV[i]] = true end
  for i = first, first + count - 1, 2 do
    changed[ARGV[i]] = true
    add(ARGV[i], ARGV[i + 1])
  end
  for i = 1, #session, 2 do
    if not changed[session[i]] then add(session[i], session[i + 1]) end
  end
  return fields, bytes
end

-- Sets and removes those fields. In pieces, since Lua's stack is bounded. A field in both is set, so removing comes first.
local function change(key, first, count)
  for i = first + count, #ARGV, 1000 do
    redis.call('HDEL', key, unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
  for i = first, first + count - 1, 1000 do
    redis.call('HSET', key, unpack(ARGV, i, math.min(i + 999, first + count - 1)))
  end
end

-- Stores a session whose fields stand in ARGV from `first` on, with this time of creation and of its absolute end; answers when
-- it ends.
local function begin(key, user, at, idle, deadline, every, own, first)
  -- From now on, not from its time of creation, which may be ahead of a clock that was set back.
  local ends = life({decimal(now), idle, decimal(deadline), decimal(now), every, own ~= '' and '1'})
  redis.call('DEL', key)
  redis.call('HSET', key, 'user', user, 'created', at, 'used', at, 'idle', idle, 'deadline', decimal(deadline),
    'version', '1', 'every', every)
  if own ~= '' then redis.call('HSET', key, 'own', '1') end
  change(key, first, #ARGV - first + 1)
  expire(key, ends)
  return ends
end

-- The version of a session, of its fields and values in turn; false if it can't be read, nil if there is none.
local function version_of(session)
  for i = 1, #session, 2 do
    if session[i] == 'version' then return number(session[i + 1]) or false end
  end
end

-- The fields of a session that was rotated away.
local POINTER = {user = true, created = true, used = true, idle = true, deadline = true, version = true, next = true}
POINTER['until'] = true

-- Through how many rotations an id leads.
local MAX_HOPS = 8

-- Makes the key lead to the session of this id for so many ms. For who knows nothing of that it is a session that has ended.
local function point(key, to, grace)
  redis.call('HSET', key, 'created', '0', 'used', '0', 'idle', '0', 'deadline', '0', 'version', '0', 'next', to,
    'until', decimal(now + grace * 1000))
  redis.call('PEXPIRE', key, grace)
end

-- The text of the id under which a rotated session goes on, if what is stored leads there and its grace is not over.
local function successor(session)
  local to, till
  for i = 1, #session, 2 do
    if session[i] == 'next' then to = session[i + 1] end
    if session[i] == 'until' then till = number(session[i + 1]) end
  end
  return to and till and till > now and to
end

-- The hash in the text of an id; nil if it is none.
local function hash_of(id)
  return string.match(id, '^%x%x%x%x%.([%w_-]+)$')
end

-- Whether a session, of its fields and values in turn, is about to go on here in the place of another one, and does not yet: it
-- is asked for again a little later.
local function is_between(session)
  for i = 1, #session, 2 do
    if session[i] == 'beside' then return true end
  end
  return false
end
