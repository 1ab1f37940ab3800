-- ARGV: prefix, view, width. Returns the width the view has.
local key = ARGV[1] .. ':view:' .. ARGV[2]
local width = call('HGET', key, 'width')
if width then
  return width
end
call('HSET', key, 'number', call('INCR', ARGV[1] .. ':number'), 'width', ARGV[3], 'rows', 0)
call('SADD', ARGV[1] .. ':views', ARGV[2])
return ARGV[3]
