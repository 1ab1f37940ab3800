-- Questions and their arguments one after the other; answers all of them at one moment.
local BLOCK = 64
local SHORT = 4
local NEVER = -2147483648

local function known_latest(view, key, hi, lo)
  local data, size = view.data .. key, view.size
  local count = count_until(data, size, call('STRLEN', data) / size, hi, lo, 1)
  while count > 0 do
    local first = math.max(count - BLOCK, 0)
    local records = call('GETRANGE', data, first * size, count * size - 1)
    for place = count - first - 1, 0, -1 do
      local l, h = unpack_('<I4i4', records, place * size + 9)
      if (h < hi or (h == hi and l <= lo)) and not (h == NEVER and l == 0) then
        return whole(view, key, records:sub(place * size + 1, (place + 1) * size))
      end
    end
    count = first
  end
  return false
end

local function latest(view, key, hi, lo)
  local data, size = view.data .. key, view.size
  local record = call('GETRANGE', data, -size, -1)
  if record == '' then
    return false
  end
  local l, h = unpack_('<I4i4', record)
  if h > hi or (h == hi and l > lo) then
    local count = count_until(data, size, call('STRLEN', data) / size, hi, lo, 1)
    if count == 0 then
      return false
    end
    record = call('GETRANGE', data, (count - 1) * size, count * size - 1)
  end
  return view.heap and whole(view, key, record) or record
end

-- The last records of many keys in one call, right for a moment after all of them. Only where histories are short: it reads them
-- whole. Returns false where they are not.
local function all_latest(view, hi, lo, first, count)
  local l, h = unpack_('<I4i4', view.newest)
  if view.heap or count < 4 or h > hi or (h == hi and l > lo) or view.rows > SHORT * call('SCARD', view.base .. 'k') then
    return false
  end
  local found, data, size = {}, view.data, view.size
  for low = first, first + count - 1, AT_ONCE do
    local names = {}
    for place = low, math.min(low + AT_ONCE, first + count) - 1 do
      names[#names + 1] = data .. ARGV[place]
    end
    for _, records in ipairs(call('MGET', unpack(names))) do
      found[#found + 1] = records and #records > size and records:sub(-size) or records
    end
  end
  return found
end

-- The records with start <= event time < end; in views of any width, then their payloads.
local function range(view, key, starts, ends, place)
  local data, size = view.data .. key, view.size
  local count = call('STRLEN', data) / size
  local lo, hi = unpack_('<I4i4', ends, place)
  local high = count_until(data, size, count, hi, lo, 0)
  lo, hi = unpack_('<I4i4', starts, place)
  local low = count_until(data, size, high, hi, lo, 0)
  local records = low < high and call('GETRANGE', data, low * size, high * size - 1) or ''
  if not view.heap then
    return records
  end
  local payloads = {}
  for record = 1, #records, size do
    local from, length = unpack_('<I4I4', records, record + TIMES)
    payloads[#payloads + 1] = length > 0 and call('GETRANGE', view.heap .. key, from, from + length - 1) or ''
  end
  return {records, concat(payloads)}
end

local answers, views = {}, {}
local next_ = 2
while next_ <= #ARGV do
  local kind, name = ARGV[next_], ARGV[next_ + 1]
  if kind == 'P' then
    local view = ARGV[1] .. ':view:' .. name
    local position = call('HGET', view, 'p:' .. ARGV[next_ + 2])
    if not position and call('EXISTS', view) == 0 then
      return no_view(name)
    end
    answers[#answers + 1] = position
    next_ = next_ + 3
  else
    local view = views[name] or view_of(name)
    if not view then
      return no_view(name)
    end
    views[name] = view
    if kind == 'S' then
      answers[#answers + 1] = {view.rows, view.newest}
      next_ = next_ + 2
    else
      local count, first, second = tonumber(ARGV[next_ + 2]), ARGV[next_ + 3], ARGV[next_ + 4]
      local found, step = {}, #first > 8 and 8 or 0
      local key = next_ + 4
      if kind == 'R' then
        found[1] = view.heap and -1 or view.size / 8
        for place = 1, count do
          found[place + 1] = range(view, ARGV[key + place], first, second, (place - 1) * 8 + 1)
        end
      elseif view.rows == 0 then
        for place = 1, count do
          found[place] = false
        end
      else
        local answer = second == '1' and known_latest or latest
        local lo, hi = unpack_('<I4i4', first)
        local all = step == 0 and answer == latest and all_latest(view, hi, lo, key + 1, count)
        found = all or found
        for place = 1, all and 0 or count do
          if step > 0 then
            lo, hi = unpack_('<I4i4', first, (place - 1) * step + 1)
          end
          found[place] = answer(view, ARGV[key + place], hi, lo)
        end
      end
      answers[#answers + 1] = found
      next_ = key + count + 1
    end
  end
end
return answers
