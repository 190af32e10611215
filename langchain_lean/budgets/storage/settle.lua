-- Puts what was used in the place of what a lease holds, or of its floors if it ended.
-- Of a lease that is not there, settled or forgotten, nothing is changed.
--
-- KEYS  of each claim: counter, leases
-- ARGV  "id now" of the lease, without now for the server's time;
--       of each claim: "amount floor used"
-- Returns as text, of each claim: used, held

local id, given = string.match(ARGV[1], '(%S+) ?(%d*)')
local now = now_from(given)
local reply = {}

for i = 1, #ARGV - 1 do
  local book = book_at(now, KEYS[2 * i - 1], KEYS[2 * i])
  local amount, floor, used = string.match(ARGV[i + 1], '(%d+) (%d+) (%d+)')
  local member = amount .. ':' .. floor .. ':' .. id
  if redis.call('ZREM', book.leases, member) == 1 then
    book.held = book.held - amount
    charge(book, tonumber(used))
    reply[i] = save(book, 'KEEPTTL')
  elseif redis.call('ZREM', book.leases, 'late:' .. member) == 1 then
    charge(book, used - floor)
    reply[i] = save(book, 'KEEPTTL')
  else
    reply[i] = counts(book)
  end
end
return table.concat(reply, ' ')
