-- ARGV: prefix, view, time, keys. Forgets the records of the keys before the time but a key's last; returns how many.
local view = view_of(ARGV[2])
if not view then
  return no_view(ARGV[2])
end
local lo, hi = unpack_('<I4i4', ARGV[3])
local gone = 0
for place = 4, #ARGV do
  local key, size = view.data .. ARGV[place], view.size
  local count = call('STRLEN', key) / size
  local old = math.min(count_until(key, size, count, hi, lo, 0), count - 1)
  if old > 0 then
    local records = call('GETRANGE', key, old * size, -1)
    if view.heap then
      local heap, kept, payloads, length = view.heap .. ARGV[place], {}, {}, 0
      for record = 1, #records, size do
        local payload = whole(view, ARGV[place], records:sub(record, record + size - 1)):sub(TIMES + 1)
        kept[#kept + 1] = records:sub(record, record + TIMES - 1) .. pack_('<I4I4', length, #payload)
        payloads[#payloads + 1] = payload
        length = length + #payload
      end
      records = concat(kept)
      call('SET', heap, concat(payloads))
    end
    call('SET', key, records)
    gone = gone + old
  end
end
if gone > 0 then
  call('HINCRBY', ARGV[1] .. ':view:' .. ARGV[2], 'rows', -gone)
end
return gone
