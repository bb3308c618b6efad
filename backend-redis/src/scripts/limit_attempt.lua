-- Counts an attempt as failed before it is made, or says that it must not be made.
--
-- KEYS     1  the failures: a hash. "*" has those of all sources, "@source" those of one, each
--             "failures:since:locked until:lock-outs:forgotten at:known until", times in µs
-- ARGV     1  '1' if only a known source is admitted
--          2  the most sources
--          3… failures that lock out, window, first and longest lock-out and memory in µs, of all sources
--          8… if there is a source: its name, and the same five numbers of it
-- Replies  {time in µs, 'admitted', window of all sources or 0, window of the source or 0, 1 if known or 0, lock-out in µs
--          or 0}, {time, 'locked', µs until it ends, 'source' or 'overall'} or {time, 'unknown'}
--
-- Atomic: nothing runs between reading and counting, so that no more attempts are made at once than may fail. The
-- arithmetic is that of stanchion::limit::Failures. What is refused writes nothing, unless a time was left too far ahead by
-- a clock that was set back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local only_known, most_sources = ARGV[1] == '1', tonumber(ARGV[2])

local function read(text)
  local record = {}
  for number in string.gmatch(text, '%d+') do record[#record + 1] = tonumber(number) end
  if #record ~= 6 or not string.match(text, '^[%d:]+$') then return nil end
  return {failures = record[1], since = record[2], locked = record[3], lockouts = record[4], forgotten = record[5],
    known = record[6]}
end

local function fresh()
  return {failures = 0, since = 0, locked = 0, lockouts = 0, forgotten = 0, known = 0}
end

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

local function store(field, record)
  redis.call('HSET', KEYS[1], field, string.format('%.0f:%.0f:%.0f:%.0f:%.0f:%.0f', record.failures, record.since,
    record.locked, record.lockouts, record.forgotten, record.known))
end

local records, sources = {}, 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  records[fields[i]] = read(fields[i + 1])
  if not records[fields[i]] then return redis.error_reply('WRONGTYPE The key holds no failed attempts') end
  if fields[i] ~= '*' then sources = sources + 1 end
end

local overall, overall_rule = records['*'] or fresh(), lockout(3)
local field, source, source_rule
if ARGV[8] then
  field = '@' .. ARGV[8]
  source, source_rule = records[field] or fresh(), lockout(9)
end
local known = source and source.known > now
if only_known and not known then return {now, 'unknown'} end
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
  if not records[field] then sources = sources + 1 end
  store(field, source)
end
store('*', overall)

-- Sources that are not known go first, and of these the oldest.
while sources > most_sources do
  local least, least_known, least_last
  for name, record in pairs(records) do
    if name ~= '*' and name ~= field then
      local is_known, last = record.known > now, math.max(record.since, record.forgotten, record.known)
      if not least or (is_known ~= least_known and least_known)
        or (is_known == least_known and (last < least_last or (last == least_last and name < least))) then
        least, least_known, least_last = name, is_known, last
      end
    end
  end
  redis.call('HDEL', KEYS[1], least)
  records[least] = nil
  sources = sources - 1
end
life = math.ceil(life / 1000)
if redis.call('PTTL', KEYS[1]) < life then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
end
return {now, 'admitted', overall_since, source_since, known and 1 or 0, locks}
