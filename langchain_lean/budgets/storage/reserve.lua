-- Holds the amounts of all claims, or of none. A lease that was granted stays granted:
-- a client asks again when it lost the reply.
--
-- KEYS  of each claim: counter, leases
-- ARGV  "id milliseconds now" of the lease, without now for the server's time;
--       of each claim: "amount limit window floor", the window in milliseconds, or at
--       least NEVER
-- Returns as text: the number of the first claim that does not fit, or 0;
--       of each claim: used, held

local MINUTE = 60000

-- Returns how the counter stands then.
local function hold(book, now, lease_ends)
  local before = book.ends
  book.held = book.held + book.amount
  book.ends = math.min(math.max(before, now + book.window), NEVER)
  if lease_ends < book.due then
    book.due = lease_ends
  end
  if before == 0 then
    redis.call('ZADD', book.leases, NEVER, '-', lease_ends, book.member)
  else
    redis.call('ZADD', book.leases, lease_ends, book.member)
  end
  -- The server may drop the keys a minute or two after the end. It is told so once a
  -- minute, for a window can move with each call.
  local minute = math.ceil(book.ends / MINUTE)
  if minute == math.ceil(before / MINUTE) then
    return save(book, 'KEEPTTL')
  end
  if book.ends == NEVER then
    redis.call('PERSIST', book.leases)
    return save(book)
  end
  local left = (minute + 1) * MINUTE - now
  redis.call('PEXPIRE', book.leases, left)
  return save(book, 'PX', left)
end

local id, milliseconds, given = string.match(ARGV[1], '(%S+) (%d+) ?(%d*)')
local now = now_from(given)
local books, refused, granted = {}, 0, false

for i = 1, #ARGV - 1 do
  local book = book_at(now, KEYS[2 * i - 1], KEYS[2 * i])
  local amount, limit, window, floor =
    string.match(ARGV[i + 1], '(%d+) (%d+) (%d+) (%d+)')
  book.amount, book.window = amount, window
  book.member = amount .. ':' .. floor .. ':' .. id
  local known = redis.call('ZMSCORE', book.leases, book.member, 'late:' .. book.member)
  granted = granted or known[1] or known[2]
  if refused == 0 and book.used + book.held + amount > tonumber(limit) then
    refused = i
  end
  books[i] = book
end

local reply = { granted and 0 or refused }
for i, book in ipairs(books) do
  if granted or refused > 0 then
    reply[i + 1] = counts(book)
  else
    reply[i + 1] = hold(book, now, now + milliseconds)
  end
end
return table.concat(reply, ' ')
