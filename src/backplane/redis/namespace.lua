-- The store of one namespace: gives places to events, and keeps them for a while.
--
-- It is called with a verb as the first argument, and makes only the functions of that verb, because
-- each one costs time. src/span/protocol.rs says what the verbs mean; src/span/store.rs is the same in
-- Rust. Needs Redis 6.2 or Valkey. The keys, all in one slot:
--
--   meta         hash: format, run, n, gen, follows; `p:MEMBER` has the number and the time of the
--                last batch of a member
--   log          stream: the entry of place n has the id `n-0`, and one field: `e1`, an event, or
--                `g1`, NAME FOLLOWS of a generation that begins
--   generations  list of the last 64: NAME FOLLOWS
--   recent       hash: the last place of each topic that has history, by the key of its history;
--                `since`, the place that this hash begins after; `begun`, when that was
--   earlier      what was `recent` before
--   history      list, one per topic: PLACE BEFORE FROM TO, a line break, and the event as in the
--                log. BEFORE is the place of the topic's event before this one. FROM and TO count the
--                bytes of all its events up to this one, without and with it.
--   once         of each event with a key: exists
--   watched      sorted set: topics whose numbers of subscribers members want to know, by the times
--                until which they do
--   count        hash, one per watched topic: the number of subscribers of each member, and when it
--                has said so
--
-- An event is a line LENGTH FLAGS, the name of its topic, which has this length, and the encoded
-- events. The flags are `u`, not to be compressed, and `last`, the last event of its topic. Later
-- releases may add words to these lines, and fields to entries.
--
-- Once a history ends with a last event, no event on its topic is placed until it has expired.
--
-- Any key can be lost. What can then not be known counts as lost, never as complete.
--
-- Redis refuses the first write of a script if it has no room, but no later ones. So everything that
-- can fail is read first, and the first write is one that needs room.

local FORMAT = 1
local FIRST_PLACE = 2
local GENERATIONS_MAX = 64
local FORGET_MEMBERS_AFTER_MS = 60 * 60 * 1000
local RECALLED_BYTES = 8 * 1024 * 1024
local WATCHED_TOPICS_MAX = 1000
-- From here on, numbers are not exact.
local PLACE_MAX = 2 ^ 53

local call, match = redis.call, string.match
local meta, log, generations, recent, earlier = unpack(KEYS, 1, 5)
-- Those of histories and of `once` follow, or `watched` and those of `count`.
local FIXED_KEYS = 5

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- `..` writes at most 14 digits.
local function digits(number)
  return string.format('%.0f', number)
end

local function format_error(known)
  if known and tonumber(known) ~= FORMAT then
    local why = 'STARWHEEL the namespace has format %s, which this release does not know'
    return redis.error_reply(why:format(known))
  end
end

-- The last place that a topic without a history can have had. Without `since` the hash is not what
-- was recorded, and says nothing of the time after `earlier` either.
local function lost_up_to(history, n)
  local since = call('HGET', recent, 'since')
  if not since then
    return n
  end
  local place = call('HGET', recent, history)
    or call('HGET', earlier, history)
    or call('HGET', earlier, 'since')
    or since
  return math.min(tonumber(place) or n, n)
end

-- Greet -------------------------------------------------------------------------------------------

if ARGV[1] == 'greet' then
  -- The highest id that the log has had.
  local function last_of_log()
    if call('EXISTS', log) == 0 then
      return 0
    end
    local about = call('XINFO', 'STREAM', log)
    for i = 1, #about, 2 do
      if about[i] == 'last-generated-id' then
        return tonumber(match(about[i + 1], '^%d+'))
      end
    end
  end

  -- The highest place that an event in a history can have.
  local function last_of_histories()
    local last = 0
    for _, hash in ipairs({ recent, earlier }) do
      local fields = call('HGETALL', hash)
      for i = 1, #fields, 2 do
        if fields[i] ~= 'begun' then
          last = math.max(last, tonumber(fields[i + 1]) or 0)
        end
      end
    end
    return last
  end

  -- Names grow, even if the clock is behind that of an earlier server.
  local function new_name(now, seed)
    local last = call('LINDEX', generations, -1) or ''
    local time = tonumber(last:sub(1, 12), 16) or 0
    return string.format('%012x', math.max(now, time + 1)) .. seed
  end

  -- A generation begins that follows the place `n`. Returns its own place. The places before it that
  -- are left out may have been given, and be lost.
  local function begin_generation(n, run, floor, now, seed, leap)
    local seen = math.max(n, floor)
    local place = seen == 0 and FIRST_PLACE or seen + 1 + leap
    local name, follows = new_name(now, seed), digits(n)
    local entry = name .. ' ' .. follows
    call('XADD', log, digits(place) .. '-0', 'g1', entry)
    call('HSET', meta, 'format', FORMAT, 'run', run, 'gen', name, 'follows', follows)
    call('RPUSH', generations, entry)
    call('LTRIM', generations, -GENERATIONS_MAX, -1)
    if call('HEXISTS', recent, 'since') == 0 then
      call('DEL', recent, earlier)
      call('HSET', recent, 'since', digits(place), 'begun', now)
    end
    return place
  end

  -- The clock can be another one than before, so in a new generation the hour begins again.
  local function forget_members(now, is_new)
    local fields = call('HGETALL', meta)
    for i = 1, #fields, 2 do
      if fields[i]:sub(1, 2) == 'p:' then
        local number, time = match(fields[i + 1], '^(%d+) (%d+)$')
        if not number or now - time > FORGET_MEMBERS_AFTER_MS and not is_new then
          call('HDEL', meta, fields[i])
        elseif is_new then
          call('HSET', meta, fields[i], number .. ' ' .. now)
        end
      end
    end
  end

  local function greet(run, floor, seed, leap)
    local known = call('HMGET', meta, 'format', 'run', 'n', 'gen', 'follows')
    local failed = format_error(known[1])
    if failed then
      return failed
    end
    local known_n = tonumber(known[3])
    local n = math.max(known_n or last_of_histories(), last_of_log())
    if math.max(n, floor) >= PLACE_MAX then
      return redis.error_reply('STARWHEEL there are no places after ' .. digits(math.max(n, floor)))
    end
    if known[4] and known[5] and call('EXISTS', generations) == 0 then
      call('RPUSH', generations, known[4] .. ' ' .. known[5])
    end
    local now = now_ms()
    local is_new = not known_n or known[2] ~= run or floor > n
    if is_new then
      n = begin_generation(n, run, floor, now, seed, leap)
    end
    if n ~= known_n then
      call('HSET', meta, 'n', digits(n))
    end
    forget_members(now, is_new)
    -- What is wrong with this key must not keep members out.
    local watched, max = KEYS[FIXED_KEYS + 1], WATCHED_TOPICS_MAX
    local names = redis.pcall('ZRANGEBYSCORE', watched, '(' .. now, '+inf', 'LIMIT', 0, max)
    return { 'greeted', n, call('LRANGE', generations, 0, -1), names.err and {} or names }
  end

  return greet(ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]))
end

-- Append ------------------------------------------------------------------------------------------

if ARGV[1] == 'append' then
  -- Where a history goes on: after which place, at how many bytes.
  local function open_history(key, n, events_max, bytes_max)
    local newest = call('LINDEX', key, -1)
    local last, to = match(newest or '', '^(%d+) %d+ %d+ (%d+)')
    local flags = match(newest or '', '^[^\n]*\n%d+([^\n]*)')
    local is_foreign = newest and not (last and tonumber(last) <= n)
    if is_foreign or not newest then
      last, to = digits(lost_up_to(key, n)), '0'
    end
    return {
      key = key,
      events_max = tonumber(events_max),
      bytes_max = tonumber(bytes_max),
      count = 0,
      last = last,
      to = to,
      is_foreign = is_foreign,
      is_over = not is_foreign and flags and match(flags .. ' ', ' last '),
    }
  end

  local function add_to_history(history, place, entry)
    if history.is_foreign then
      call('DEL', history.key)
      history.is_foreign = false
    end
    local from, bytes = history.to, #entry - string.find(entry, '\n', 1, true)
    local to = digits(from + bytes)
    local element = place .. ' ' .. history.last .. ' ' .. from .. ' ' .. to .. '\n' .. entry
    history.count = call('RPUSH', history.key, element)
    history.last, history.to = place, to
  end

  -- Drops the oldest events over the limits, but never the newest one.
  local function trim_history(history)
    local count, from, to = history.count, 0, tonumber(history.to)
    if count == history.events_max + 1 then
      -- The usual case. What the oldest event ends at is where the next one begins.
      from = match(call('LPOP', history.key), '^%d+ %d+ %d+ (%d+)')
      count = count - 1
    elseif count > history.events_max then
      call('LTRIM', history.key, -history.events_max, -1)
      count = history.events_max
    end
    while count > 1 and to - (from or 0) > history.bytes_max do
      from = match(call('LINDEX', history.key, 0), '^%d+ %d+ (%d+)')
      if from and to - from <= history.bytes_max then
        return
      end
      call('LPOP', history.key)
      count = count - 1
    end
  end

  -- The hashes change places when what the older one has recorded has expired. `known` is what
  -- `recent` says of itself.
  local function begin_recording(known, n, now, history_s)
    if not known[1] then
      call('DEL', recent, earlier)
    elseif now - (tonumber(known[2]) or 0) >= history_s * 1000 then
      call('RENAME', recent, earlier)
    else
      return
    end
    call('HSET', recent, 'since', digits(n), 'begun', now)
  end

  -- Why a batch is not applied, if it is not.
  local function objection(number, base, last, n)
    if not n then
      return { 'strange' }
    elseif last and number <= last then
      return { 'known', n }
    elseif number ~= base and not (last and number == last + 1) then
      return { 'missing' }
    end
  end

  -- Which events come after the last one of their topic.
  local function find_late(history, first, events, lasts)
    local late, is_over, is_last = {}, lasts > 0, {}
    for _, one in ipairs(history) do
      is_over = is_over or one.is_over
    end
    if not is_over then
      return late
    end
    for l = 1, lasts do
      is_last[tonumber(ARGV[first - lasts + l])] = true
    end
    for event = 1, events do
      local one = history[tonumber(ARGV[first + 2 * event - 1])]
      if one then
        late[event] = one.is_over
        one.is_over = one.is_over or is_last[event]
      end
    end
    return late
  end

  -- After the numbers, the arguments are: two limits of each history, the number of the event of
  -- each key of `once`, the numbers of events that are the last of their topics, and for each event the
  -- number of its history, or 0, and the entry.
  local function append(member, number, base, log_entries, history_s, once_ms, histories, keyed, lasts)
    local known = call('HMGET', meta, 'format', 'n', member)
    local n, last = tonumber(known[2]), known[3] and tonumber(match(known[3], '^%d+'))
    local failed = format_error(known[1]) or objection(number, base, last, n)
    if failed then
      return failed
    end

    -- What is there.
    local now, argument = now_ms(), 10
    local recorded = histories > 0 and call('HMGET', recent, 'since', 'begun')
    local history = {}
    for h = 1, histories do
      local events_max, bytes_max = ARGV[argument + 1], ARGV[argument + 2]
      history[h] = open_history(KEYS[FIXED_KEYS + h], n, events_max, bytes_max)
      argument = argument + 2
    end
    local first = argument + keyed + lasts
    local events = (#ARGV - first) / 2
    local once, is_known = {}, find_late(history, first, events, lasts)
    for k = 1, keyed do
      local key, event = KEYS[FIXED_KEYS + histories + k], tonumber(ARGV[argument + k])
      if is_known[event] or once[key] or call('EXISTS', key) == 1 then
        is_known[event] = true
      else
        once[key] = true
      end
    end
    argument = first
    local final = events
    while is_known[final] do
      final = final - 1
    end

    -- From here on, everything is written.
    local up_to = n
    for event = 1, final do
      if not is_known[event] then
        up_to = up_to + 1
        local place = digits(up_to)
        local h, entry = ARGV[argument + 2 * event - 1], ARGV[argument + 2 * event]
        if event < final then
          call('XADD', log, place .. '-0', 'e1', entry)
        else
          call('XADD', log, 'MAXLEN', '~', log_entries, place .. '-0', 'e1', entry)
        end
        if h ~= '0' then
          add_to_history(history[tonumber(h)], place, entry)
        end
      end
    end
    call('HSET', meta, 'n', digits(up_to), member, digits(number) .. ' ' .. digits(now))
    if recorded then
      begin_recording(recorded, n, now, history_s)
    end
    for h = 1, histories do
      if history[h].count > 0 then
        trim_history(history[h])
        call('EXPIRE', history[h].key, history_s)
        call('HSET', recent, history[h].key, history[h].last)
      end
    end
    for key in pairs(once) do
      call('SET', key, 1, 'PX', once_ms)
    end
    return { 'appended', up_to }
  end

  local numbers = {}
  for i = 3, 10 do
    numbers[i] = tonumber(ARGV[i])
  end
  return append('p:' .. ARGV[2], unpack(numbers, 3, 10))
end

-- Recall ------------------------------------------------------------------------------------------

if ARGV[1] == 'recall' then
  -- For each history the place up to which it is lost if it is empty, and its events. If they are
  -- large, not all: the member asks for the others again.
  local function recall()
    local known = call('HMGET', meta, 'format', 'n')
    local n = tonumber(known[2])
    local failed = format_error(known[1])
    if failed then
      return failed
    elseif not n then
      return { 'strange' }
    end
    local reply, bytes = { 'recalled', n }, 0
    for k = FIXED_KEYS + 1, #KEYS do
      if bytes >= RECALLED_BYTES then
        break
      end
      local events = call('LRANGE', KEYS[k], 0, -1)
      local lost = #events > 0 and 0 or lost_up_to(KEYS[k], n)
      reply[#reply + 1] = { lost, events }
      for _, event in ipairs(events) do
        bytes = bytes + #event
      end
    end
    return reply
  end

  return recall()
end

-- Count -------------------------------------------------------------------------------------------

if ARGV[1] == 'count' then
  local WATCHED_MS = 60 * 1000
  local FRESH_MS = 15 * 1000
  local COUNT_EXPIRES_S = 30

  local function watch(watched, names, now)
    local room = WATCHED_TOPICS_MAX - call('ZCOUNT', watched, '(' .. now, '+inf')
    for _, name in ipairs(names) do
      local is_known = tonumber(call('ZSCORE', watched, name) or 0) > now
      if is_known or room > 0 then
        call('ZADD', watched, digits(now + WATCHED_MS), name)
        room = is_known and room or room - 1
      end
    end
  end

  local function tell(key, member, number, now)
    if number == '0' then
      call('HDEL', key, member)
    else
      call('HSET', key, member, number .. ' ' .. digits(now))
      call('EXPIRE', key, COUNT_EXPIRES_S)
    end
  end

  -- Numbers of members that have ended are dropped.
  local function sum_of_others(key, member, now)
    local sum, fields = 0, call('HGETALL', key)
    for i = 1, #fields, 2 do
      local number, time = match(fields[i + 1], '^(%d+) (%d+)$')
      if not number or math.abs(now - time) > FRESH_MS then
        call('HDEL', key, fields[i])
      elseif fields[i] ~= member then
        sum = sum + number
      end
    end
    return math.min(sum, PLACE_MAX - 1)
  end

  -- After the keys of all calls and `watched`, the keys are those of the topics that are watched, then
  -- those of the topics of which a number is told. The arguments are the names of the former, and the
  -- numbers.
  local function count(member, watches)
    local failed = format_error(call('HGET', meta, 'format'))
    if failed then
      return failed
    end
    local watched, now, names = KEYS[FIXED_KEYS + 1], now_ms(), {}
    for i = 1, watches do
      names[i] = ARGV[3 + i]
    end
    watch(watched, names, now)
    for i = watches + 1, #ARGV - 3 do
      tell(KEYS[FIXED_KEYS + 1 + i], member, ARGV[3 + i], now)
    end
    local reply = { 'counted' }
    for i = 1, watches do
      reply[1 + i] = sum_of_others(KEYS[FIXED_KEYS + 1 + i], member, now)
    end
    call('ZREMRANGEBYSCORE', watched, '-inf', digits(now))
    call('PEXPIRE', watched, WATCHED_MS)
    return reply
  end

  -- Events depend on nothing here, so nothing here ends the connection.
  local is_done, reply = pcall(count, ARGV[2], tonumber(ARGV[3]))
  return is_done and reply or { 'counted' }
end
