-- wrk: sessions as the guide's clients open them, each of another user. Arguments: a word that no other load has.
require "done"

function init(args)
  counter = 0
  head = '{"gpt_id":"devops-expert","usuario_id":"usuario-' .. args[1] .. '-'
  tail = '","timestamp_inicio":"' .. os.date("!%Y-%m-%dT%H:%M:%S.000Z") .. '"}'
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  counter = counter + 1
  return wrk.format("POST", nil, headers, head .. counter .. tail)
end
