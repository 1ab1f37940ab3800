-- ARGV: prefix, view. The view is gone at once; its number (and `h` if it has heaps) is left in PREFIX:gone until its keys are.
local key = ARGV[1] .. ':view:' .. ARGV[2]
local number, width = unpack(call('HMGET', key, 'number', 'width'))
if number then
  call('SADD', ARGV[1] .. ':gone', number .. (width == '-1' and 'h' or ''))
  call('DEL', key)
  call('SREM', ARGV[1] .. ':views', ARGV[2])
end
return redis.status_reply('OK')
