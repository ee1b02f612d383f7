-- Writes what one node has of one user. Of each device the session that began last counts, ties go to the
-- greater node; what an older session says changes nothing.
--
-- ARGV: prefix, userId, nodeId, ttl ms, ttl ms of who is offline, force, device prefix, devices, ended
-- -> {0 locked | 1 written, online, inconsistent, devices that are elsewhere...}
local prefix, user, node, ttl, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if ARGV[6] == '0' and redis.call('EXISTS', prefix .. 'presence:lock:' .. user) == 1 then
  return {0, 0, 0}
end
local key = prefix .. 'presence:user:' .. user
local function route_of(device) return prefix .. 'route:device:' .. ARGV[7] .. device end
local function ended_of(device) return prefix .. 'route:ended:' .. ARGV[7] .. device end
local function later(a, b)
  local x, y = a.since or 0, b.since or 0
  if x ~= y then return x > y end
  if a.nodeId ~= b.nodeId then return a.nodeId > b.nodeId end
  return (a.session or 0) > (b.session or 0)
end
local was = cjson.decode(redis.call('GET', key) or '{}')
local devices, changed, inconsistent = {}, false, 0
for _, it in ipairs(was.devices or {}) do devices[it.deviceId] = it end
local active = was.lastActiveAt or 0

for _, it in ipairs(cjson.decode(ARGV[9])) do
  it.nodeId = node
  local known = devices[it.deviceId]
  if known and not later(known, it) then
    devices[it.deviceId] = nil
    changed = true
    redis.call('DEL', route_of(it.deviceId))
  end
  local ended = redis.call('GET', ended_of(it.deviceId))
  if not ended or later(it, cjson.decode(ended)) then
    local text = cjson.encode({since = it.since, nodeId = node, session = it.session})
    redis.call('SET', ended_of(it.deviceId), text, 'PX', 2 * ttl)
  end
  active = math.max(active, it.lastSeen)
end

local elsewhere = {}
for _, it in ipairs(cjson.decode(ARGV[8])) do
  it.nodeId = node
  local known, ended = devices[it.deviceId], redis.call('GET', ended_of(it.deviceId))
  if (ended and not later(it, cjson.decode(ended))) or (known and later(known, it)) then
    elsewhere[#elsewhere + 1] = it.deviceId
  else
    local route = redis.call('GET', route_of(it.deviceId))
    if known and not later(it, known) then
      if route ~= node then inconsistent = inconsistent + 1 end
    else
      changed = true
      if route and not (known and known.nodeId == route) then inconsistent = inconsistent + 1 end
    end
    devices[it.deviceId] = it
    redis.call('SET', route_of(it.deviceId), node, 'PX', ttl)
    active = math.max(active, it.lastSeen)
  end
end

local list, here = {}, false
for _, it in pairs(devices) do
  list[#list + 1] = it
  here = here or it.nodeId == node
end
table.sort(list, function(a, b) return a.deviceId < b.deviceId end)
local text = '{"devices":' .. (#list > 0 and cjson.encode(list) or '[]')
  .. ',"lastActiveAt":' .. string.format('%.0f', active)
if #list == 0 and was.migratingFrom then
  text = text .. ',"migratingFrom":' .. cjson.encode(was.migratingFrom)
end
text = text .. '}'
redis.call('SET', key, text, 'PX', #list > 0 and ttl or keep)
redis.call(here and 'SADD' or 'SREM', prefix .. 'node:users:' .. node, user)
redis.call('PEXPIRE', prefix .. 'node:users:' .. node, 2 * ttl)
if changed then
  redis.call('PUBLISH', prefix .. 'presence:changes',
    '{"userId":' .. cjson.encode(user) .. ',"presence":' .. text .. '}')
end
return {1, #list > 0 and 1 or 0, inconsistent, unpack(elsewhere)}
