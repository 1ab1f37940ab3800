-- ARGV: prefix, view, width of the payloads (-1: any, '': there are none), newest event time or '', number of positions, feed and
-- position each, then for every key its name, its records in order and, in a view of any width, its heap. Returns how many
-- records were new.
local view = view_of(ARGV[2])
if not view then
  return no_view(ARGV[2])
end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= view.width then
  return redis.error_reply('WIDTH ' .. view.width)
end
local data, size, heap = view.data, view.size, view.heap
local SHAPE = '<I4i4I4i4I4i4'

-- Whether the times of a record come before those of another.
local function precedes(a, i, b, j)
  local a1, a2, a3, a4, a5, a6 = unpack_(SHAPE, a, i)
  local b1, b2, b3, b4, b5, b6 = unpack_(SHAPE, b, j)
  if a2 ~= b2 then return a2 < b2 end
  if a1 ~= b1 then return a1 < b1 end
  if a4 ~= b4 then return a4 < b4 end
  if a3 ~= b3 then return a3 < b3 end
  if a6 ~= b6 then return a6 < b6 end
  return a5 < b5
end

-- Write late records into their places; a record whose times are there stays as it is.
local function merge(key, records)
  local low, high = 0, call('STRLEN', key) / size
  while low < high do
    local middle = floor((low + high) / 2)
    if precedes(call('GETRANGE', key, middle * size, middle * size + TIMES - 1), 1, records, 1) then
      low = middle + 1
    else
      high = middle
    end
  end
  local old = call('GETRANGE', key, low * size, -1)
  local i, j, merged, added = 1, 1, {}, 0
  while j < #records do
    if i < #old and not precedes(records, j, old, i) then
      if not precedes(old, i, records, j) then
        j = j + size
      end
      merged[#merged + 1] = old:sub(i, i + size - 1)
      i = i + size
    else
      merged[#merged + 1] = records:sub(j, j + size - 1)
      added = added + 1
      j = j + size
    end
  end
  if added > 0 then
    call('SETRANGE', key, low * size, concat(merged) .. old:sub(i))
  end
  return added
end

-- Records whose payloads come to stand behind those that are in the heap.
local function moved(records, by)
  local result = {}
  for record = 1, #records, size do
    local from, length = unpack_('<I4I4', records, record + TIMES)
    result[#result + 1] = records:sub(record, record + TIMES - 1) .. pack_('<I4I4', from + by, length)
  end
  return concat(result)
end

local positions = tonumber(ARGV[5])
for place = 6, 4 + 2 * positions, 2 do
  call('HSET', ARGV[1] .. ':view:' .. ARGV[2], 'p:' .. ARGV[place], ARGV[place + 1])
end

local added, fresh, step = 0, {}, heap and 3 or 2
for place = 6 + 2 * positions, #ARGV, step do
  local name, records = ARGV[place], ARGV[place + 1]
  local key = data .. name
  local last = call('GETRANGE', key, -size, TIMES - 1 - size)
  local before = added
  if last == '' then
    call('SET', key, records)
    fresh[#fresh + 1] = name
    added = added + #records / size
  else
    if heap then
      records = moved(records, call('STRLEN', heap .. name))
    end
    if precedes(last, 1, records, 1) then
      call('APPEND', key, records)
      added = added + #records / size
    else
      added = added + merge(key, records)
    end
  end
  if heap and added > before then
    call('APPEND', heap .. name, ARGV[place + 2])
  end
end
for first = 1, #fresh, AT_ONCE do
  call('SADD', view.base .. 'k', unpack(fresh, first, math.min(first + AT_ONCE - 1, #fresh)))
end

local newest = ARGV[4]
if newest ~= '' and view.newest ~= '' then
  local l, h = unpack_('<I4i4', view.newest)
  local l2, h2 = unpack_('<I4i4', newest)
  if h > h2 or (h == h2 and l > l2) then
    newest = view.newest
  end
end
call('HSET', ARGV[1] .. ':view:' .. ARGV[2], 'rows', view.rows + added, 'newest', newest ~= '' and newest or view.newest)
return added
