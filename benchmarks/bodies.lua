-- wrk: posts bodies from a file, one after the other, round and round. The file: a length in 8 digits, then as many bytes.
-- Arguments: file, content type.
require "done"

function init(args)
  local file = assert(io.open(args[1], "rb"))
  bodies, at = {}, 0
  while true do
    local length = file:read(8)
    if not length then break end
    bodies[#bodies + 1] = file:read(tonumber(length))
  end
  headers = { ["Content-Type"] = args[2] }
end

function request()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end
