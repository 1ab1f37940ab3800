-- ARGV: prefix, view. The view is gone at once; its number is left in PREFIX:gone until its keys are.
local key = ARGV[1] .. ':view:' .. ARGV[2]
local number = call('HGET', key, 'number')
if number then
  call('SADD', ARGV[1] .. ':gone', number)
  call('DEL', key)
  call('SREM', ARGV[1] .. ':views', ARGV[2])
end
return redis.status_reply('OK')
