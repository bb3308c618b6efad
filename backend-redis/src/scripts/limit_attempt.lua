-- Counts an attempt as failed before it is made, or says that it must not be made.
--
-- KEYS     1  the failures, as in limit_failures.lua
-- ARGV     1, 2  as there
--          3  '1' if only a known source is admitted
--          4… failures that lock out, window, first and longest lock-out and memory in µs, of all sources
--          9… if there is a source: its name, and the same five numbers of it
-- Replies  {time in µs, 'admitted', window of all sources or 0, window of the source or 0, 1 if known or 0, lock-out in µs
--          or 0}, {time, 'locked', µs until it ends, 'source' or 'overall'} or {time, 'unknown'}
--
-- Atomic: nothing runs between reading and counting, so that no more attempts are made at once than may fail. What is
-- refused writes nothing, unless a time was left too far ahead by a clock that was set back.
local function lockout(at)
  return {failures = tonumber(ARGV[at]), window = tonumber(ARGV[at + 1]), first = tonumber(ARGV[at + 2]),
    longest = tonumber(ARGV[at + 3]), memory = tonumber(ARGV[at + 4])}
end

-- As it is now.
local function settle(record, rule)
  if record.locked > now + rule.longest then record.locked, record.moved = now + rule.longest, true end
  if record.since > now then record.since, record.moved = now, true end
  if record.forgotten <= now then record.lockouts = 0 end
  if record.locked > now then return end
  if record.locked > 0 or record.since + rule.window <= now then record.failures = 0 end
  record.locked = 0
end

local function count(record, rule)
  if record.failures == 0 then record.since = now end
  record.failures = record.failures + 1
  if record.failures < rule.failures then return 0 end
  local locked = math.min(rule.first * 2 ^ record.lockouts, rule.longest)
  record.locked = now + locked
  record.lockouts = math.min(record.lockouts + 1, 32)
  record.forgotten = record.locked + rule.memory
  return locked
end

local overall, overall_rule = records['*'] or fresh(), lockout(4)
local field, source, source_rule
if ARGV[9] then
  field = '@' .. ARGV[9]
  source, source_rule = records[field] or fresh(), lockout(10)
end
local known = source and source.known > now
if ARGV[3] == '1' and not known then return {now, 'unknown'} end
settle(overall, overall_rule)
if source then settle(source, source_rule) end
local ends, by
if source and source.locked > now then
  ends, by = source.locked, 'source'
elseif overall.locked > now and not known then
  ends, by = overall.locked, 'overall'
end
if ends then
  if overall.moved or (source and source.moved) then
    store('*', overall)
    if source then store(field, source) end
  end
  return {now, 'locked', ends - now, by}
end

local locks, life, overall_since, source_since = 0, 0, 0, 0
local function lasts(record, rule)
  return math.max(record.since + rule.window, record.locked, record.forgotten, record.known) - now
end
-- A known source is admitted while all others are locked out, and makes that no longer.
if overall.locked <= now then
  locks = count(overall, overall_rule)
  overall_since = overall.since
  life = math.max(life, lasts(overall, overall_rule))
end
if source then
  locks = math.max(locks, count(source, source_rule))
  source_since = source.since
  life = math.max(life, lasts(source, source_rule))
  store(field, source)
end
store('*', overall)
forget_sources(field)
prolong(math.ceil(life / 1000))
return {now, 'admitted', overall_since, source_since, known and 1 or 0, locks}
