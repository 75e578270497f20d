-- wrk: events as the guide's clients send them; every one is new (its own timestamp).
-- Arguments: sessions with commas between (single events go through them in turn), first timestamp (microseconds of a
-- day), mean pause between a connection's requests (ms), events a request (1: an object; more: an array, whose events differ in session, type and numbers),
-- the order of their times as orders.py names it (rising: from the first on; burst: all of its millisecond; random: of the day before now).
require "done"

local types = { "consulta", "configuracion", "troubleshooting", "pipeline", "infraestructura", "monitoreo", "seguridad" }
local threads = {}
local pause = 0
local now = os.time()
local today, yesterday = os.date("!%Y-%m-%d", now), os.date("!%Y-%m-%d", now - 86400)

function setup(thread)
  thread:set("id", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  counter, partial = 0, 0
  base = tonumber(args[2])
  pause = tonumber(args[3] or "0")
  size = tonumber(args[4] or "1")
  order = args[5] or "rising"
  math.randomseed(base)
  local sessions = {}
  for session in args[1]:gmatch("[^,]+") do sessions[#sessions + 1] = session end
  heads, tokens = {}, {}
  kinds = size > 1 and size or #sessions
  for i = 0, kinds - 1 do
    heads[i] = '{"sesion_id":"' .. sessions[i % #sessions + 1] .. '","tipo":"' .. types[i % #types + 1] .. '",'
      .. '"contenido":"¿Cómo configuro un pipeline CI/CD con Docker?","latency_ms":' .. 300 + (1200 + i * 37) % 5000
      .. ',"tokens_entrada":' .. 25 + i % 60 .. ',"tokens_salida":'
    tokens[i] = 150 + i % 400
  end
  headers = { ["Content-Type"] = "application/json" }
  if pause > 0 then
    -- Spread: equal pauses would make the connections one burst that comes again and again.
    delay = function() return math.random(0, 2 * pause) end
  end
  if size > 1 then
    -- A batch that is taken in part (207) is no error to wrk.
    response = function(status) if status == 207 then partial = partial + 1 end end
  end
end

local function event(i)
  counter = counter + 1
  local n, told, day = base + counter * 4 + id, tokens[i], today
  if order == "burst" then
    n, told = base, 150 + counter * 4 + id  -- they are told apart by this
  elseif order == "random" then
    n = math.random(0, 86399999999)
    if n >= now % 86400 * 1000000 then day = yesterday end
  end
  local micros = n % 1000000
  local s = math.floor(n / 1000000)
  return string.format('%s%d,"timestamp":"%sT%02d:%02d:%02d.%06dZ"}', heads[i], told, day,
    math.floor(s / 3600) % 24, math.floor(s / 60) % 60, s % 60, micros)
end

function request()
  if size == 1 then return wrk.format("POST", nil, headers, event(counter % kinds)) end
  local events = {}
  for i = 0, size - 1 do events[i + 1] = event(i) end
  return wrk.format("POST", nil, headers, "[" .. table.concat(events, ",") .. "]")
end

function refused()
  local count = 0
  for _, thread in ipairs(threads) do count = count + thread:get("partial") end
  return count
end
