-- Tells that a node lives, by this server's clock, and gives the nodes that have missed too many beats.
--
-- ARGV: prefix, nodeId, ms after which a node is down
-- -> {1 if this node was not known or taken for down, failed nodes...}
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local key, down = ARGV[1] .. 'node:heartbeats', tonumber(ARGV[3])
local beats, answer = redis.call('HGETALL', key), {1}
for at = 1, #beats, 2 do
  local is_down = now - tonumber(beats[at + 1]) > down
  if beats[at] == ARGV[2] then
    answer[1] = is_down and 1 or 0
  elseif is_down then
    answer[#answer + 1] = beats[at]
  end
end
redis.call('HSET', key, ARGV[2], now)
return answer
