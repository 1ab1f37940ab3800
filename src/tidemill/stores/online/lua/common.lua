-- What every script begins with. ARGV[1] is the prefix of all keys of this store.
--
-- PREFIX:views        set of the names of views
-- PREFIX:view:NAME    hash: number, width (-1: any), rows, newest (8 bytes), and a position as `p:FEED`
-- PREFIX:NUMBER:dKEY  the records of a key in order, all of one size: times, then the payload, or where it is in the heap
-- PREFIX:NUMBER:hKEY  the heap of a key, in views of any width: the payloads as they came
-- PREFIX:NUMBER:k     set of the view's keys
-- Times are little-endian int64, compared as two halves because Lua's numbers hold 53 bits.
local call, unpack_, pack_ = redis.call, struct.unpack, struct.pack
local floor, concat = math.floor, table.concat
local TIMES = 24
local AT_ONCE = 3000 -- values Lua hands over in one call

local function view_of(name)
  local found = call('HMGET', ARGV[1] .. ':view:' .. name, 'number', 'width', 'rows', 'newest')
  if not found[1] then
    return nil
  end
  local width = tonumber(found[2])
  local base = ARGV[1] .. ':' .. found[1] .. ':'
  local size = TIMES + (width < 0 and 8 or width)
  return {base = base, data = base .. 'd', heap = width < 0 and base .. 'h' or nil, size = size,
          width = width, rows = tonumber(found[3]), newest = found[4] or ''}
end

local function no_view(name)
  return redis.error_reply('NOVIEW ' .. name)
end

-- How many records of a key have an event time before (hi, lo), or at it when `with` is 1.
local function count_until(key, size, count, hi, lo, with)
  local low, high = 0, count
  while low < high do
    local middle = floor((low + high) / 2)
    local l, h = unpack_('<I4i4', call('GETRANGE', key, middle * size, middle * size + 7))
    if h < hi or (h == hi and l < lo + with) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- A record with its payload.
local function whole(view, key, record)
  if not view.heap then
    return record
  end
  local from, length = unpack_('<I4I4', record, TIMES + 1)
  if length == 0 then
    return record:sub(1, TIMES)
  end
  return record:sub(1, TIMES) .. call('GETRANGE', view.heap .. key, from, from + length - 1)
end
