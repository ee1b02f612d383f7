-- Takes some users off a failed node: its routes end, and who has no other device is marked as migrating.
-- The last call forgets the node.
--
-- ARGV: prefix, failed nodeId, nodeId, ms after which a node is down, users at a time, ttl ms, ttl ms of who
-- is offline, ms that the task is this node's, whether device ids are globally unique
-- -> {0 another's | 1 done | 2 there are more, routes, user, online, user, online...}
local prefix, failed, me = ARGV[1], ARGV[2], ARGV[3]
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local beat = redis.call('HGET', prefix .. 'node:heartbeats', failed)
if not beat or now - tonumber(beat) <= tonumber(ARGV[4]) then return {0, 0} end
local task = prefix .. 'node:migration:' .. failed
if not redis.call('SET', task, me, 'NX', 'PX', ARGV[8]) then
  if redis.call('GET', task) ~= me then return {0, 0} end
  redis.call('PEXPIRE', task, ARGV[8])
end
local held, answer = prefix .. 'node:users:' .. failed, {2, 0}
local users = redis.call('SRANDMEMBER', held, ARGV[5])
for _, user in ipairs(users) do
  local key = prefix .. 'presence:user:' .. user
  local was = cjson.decode(redis.call('GET', key) or '{}')
  local list, routes = {}, 0
  for _, it in ipairs(was.devices or {}) do
    if it.nodeId == failed then
      routes = routes + 1
      local route = prefix .. 'route:device:' .. (ARGV[9] == '1' and '' or user .. '-') .. it.deviceId
      if redis.call('GET', route) == failed then redis.call('DEL', route) end
    else
      list[#list + 1] = it
    end
  end
  if routes > 0 then
    local text = '{"devices":' .. (#list > 0 and cjson.encode(list) or '[]')
      .. ',"lastActiveAt":' .. string.format('%.0f', was.lastActiveAt or 0)
    if #list == 0 then text = text .. ',"migratingFrom":' .. cjson.encode(failed) end
    text = text .. '}'
    redis.call('SET', key, text, 'PX', #list > 0 and ARGV[6] or ARGV[7])
    redis.call('PUBLISH', prefix .. 'presence:changes',
      '{"userId":' .. cjson.encode(user) .. ',"presence":' .. text .. '}')
  end
  redis.call('SREM', held, user)
  answer[2] = answer[2] + routes
  answer[#answer + 1] = user
  answer[#answer + 1] = #list > 0 and '1' or '0'
end
if #users < tonumber(ARGV[5]) then
  redis.call('HDEL', prefix .. 'node:heartbeats', failed)
  redis.call('DEL', task)
  answer[1] = 1
end
return answer
