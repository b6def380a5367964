-- Who is calling, and where does the call go? Asked of the authorizer once per key, address, client
-- and operation class, and remembered for TTL_MS. The answer goes into dynamic metadata, from which the
-- filters behind this one take the destination, its identity and the project; where it is missing they refuse.
-- TRUST_DOMAIN is defined by a line that gateway/bootstrap.py puts above this one.
local TTL_MS, TIMEOUT_MS, MAX_ENTRIES = 500, 400, 20000
local MAX_KEY, MAX_HOST = 256, 255
local UNAVAILABLE = "The gateway can't check the API key at the moment, so nothing was let through. Try again shortly."
local NO_KEY = "Invalid API key: send exactly one Api-Key header that holds a key of this project."
local LONG_HOST = "The host name of this request is longer than 255 characters: take the host from describe_index."
local NO_METHOD = "No such operation: an index answers VectorService over gRPC and its REST twins, such as POST /query."

-- Operation classes of VectorService: r reads, w writes.
local CLASSES = {
  Query = "r", Fetch = "r", FetchByMetadata = "r", List = "r", DescribeIndexStats = "r",
  ListNamespaces = "r", DescribeNamespace = "r",
  Upsert = "w", Update = "w", Delete = "w", CreateNamespace = "w", DeleteNamespace = "w",
}
local REST = {
  ["POST /vectors/upsert"] = "Upsert",
  ["POST /vectors/update"] = "Update",
  ["POST /vectors/delete"] = "Delete", ["DELETE /vectors/delete"] = "Delete",
  ["GET /vectors/fetch"] = "Fetch",
  ["POST /vectors/fetch_by_metadata"] = "FetchByMetadata",
  ["GET /vectors/list"] = "List",
  ["POST /query"] = "Query",
  ["POST /describe_index_stats"] = "DescribeIndexStats", ["GET /describe_index_stats"] = "DescribeIndexStats",
  ["GET /namespaces"] = "ListNamespaces",
  ["POST /namespaces"] = "CreateNamespace",
  ["GET /namespaces/{namespace}"] = "DescribeNamespace",
  ["DELETE /namespaces/{namespace}"] = "DeleteNamespace",
}
local GRPC_STATUS = {["401"] = "16", ["403"] = "7", ["404"] = "5", ["429"] = "8", ["503"] = "14"}
local NEEDED = {"key-id", "secret", "project", "org", "deployment", "index", "address", "grants"}

-- Two generations, so that no key stays in memory for more than two lifetimes of an answer under load.
local young, old, size, turned_at = {}, {}, 0, 0

local function remembered(question, now)
  if now - turned_at >= TTL_MS or now < turned_at or size >= MAX_ENTRIES then
    young, old, size, turned_at = {}, young, 0, now
  end
  local answer = young[question] or old[question]
  if answer and now >= answer.asked_at and now - answer.asked_at < TTL_MS then return answer end
end

local function remember(question, answer)
  young[question], size = answer, size + 1
end

-- The RPC that a request means (nil where there is none), and whether it came as gRPC.
local function operation_of(headers)
  local path, method = headers:get(":path") or "", headers:get(":method") or ""
  local content_type = headers:get("content-type") or ""
  path = path:match("^[^?]*")
  if content_type == "application/grpc" or content_type:sub(1, 17) == "application/grpc+" then
    local rpc = method == "POST" and path:match("^/VectorService/(%a+)$")
    return rpc and CLASSES[rpc] and rpc or nil, true
  end
  if path:find("^/namespaces/[^/]+$") then path = "/namespaces/{namespace}" end
  return REST[method .. " " .. path], false
end

local function refuse(handle, is_grpc, status, grpc_status, message)
  local headers = {[":status"] = status}
  if is_grpc then headers["grpc-status"] = grpc_status end
  handle:streamInfo():dynamicMetadata():set("tamarack", "refused", "yes")
  handle:respond(headers, message)
end

local function ask(handle, question)
  local headers, body = handle:httpCall("authorizer", {
    [":method"] = "GET", [":path"] = "/check", [":authority"] = "authorizer",
    ["api-key"] = question.key, ["x-host"] = question.host, ["x-port"] = question.port,
    ["x-client-ip"] = question.ip, ["x-operation"] = question.class,
  }, nil, TIMEOUT_MS)
  local status, decision = headers[":status"], headers["x-tamarack-decision"]
  if decision == "deny" and GRPC_STATUS[status] then
    return {
      status = status, message = body or "",
      ["key-id"] = headers["x-tamarack-key-id"], secret = headers["x-tamarack-secret"],
    }
  end
  if decision ~= "allow" or status ~= "200" then return nil end
  local answer = {namespaces = headers["x-tamarack-namespaces"]}
  for _, name in ipairs(NEEDED) do
    answer[name] = headers["x-tamarack-" .. name]
    if not answer[name] or answer[name] == "" then return nil end
  end
  return answer
end

local function authorize(handle)
  local headers, info = handle:headers(), handle:streamInfo()
  local rpc, is_grpc = operation_of(headers)
  local protocol = is_grpc and "grpc" or "rest"
  info:dynamicMetadata():set("tamarack", "protocol", protocol)
  local key = headers:get("api-key")
  local host = (headers:get(":authority") or ""):lower()
  if not key or headers:getNumValues("api-key") ~= 1 or key == "" or #key > MAX_KEY then
    return refuse(handle, is_grpc, "401", GRPC_STATUS["401"], NO_KEY)
  end
  if #host > MAX_HOST then return refuse(handle, is_grpc, "404", GRPC_STATUS["404"], LONG_HOST) end
  local ip = info:downstreamDirectRemoteAddress():gsub(":%d+$", ""):gsub("[%[%]]", "")
  local port = info:downstreamLocalAddress():match(":(%d+)$") or ""
  local class = rpc and CLASSES[rpc] or "none"
  local question = table.concat({key, host, port, ip, class}, "\n")
  local now = handle:timestamp(EnvoyTimestampResolution.MILLISECOND)
  local answer = remembered(question, now)
  if not answer then
    answer = ask(handle, {key = key, host = host, port = port, ip = ip, class = class})
    headers, info = handle:headers(), handle:streamInfo() -- handles from before a call are dead after it
    if not answer then return refuse(handle, is_grpc, "503", GRPC_STATUS["503"], UNAVAILABLE) end
    answer.asked_at = now
    if answer.status ~= "503" then remember(question, answer) end
  end
  local metadata = info:dynamicMetadata()
  if answer["key-id"] and answer.secret then
    metadata:set("tamarack", "key", answer["key-id"])
    metadata:set("tamarack", "secret", answer.secret)
    if rpc then metadata:set("tamarack", "rpc", rpc) end
  end
  if answer.status then
    return refuse(handle, is_grpc, answer.status, GRPC_STATUS[answer.status], answer.message)
  end
  if not rpc then return refuse(handle, is_grpc, "404", "12", NO_METHOD) end

  headers:remove("api-key")
  for _, name in ipairs({"key-id", "project", "org", "deployment", "index", "grants"}) do
    headers:replace("x-tamarack-" .. name, answer[name])
  end
  headers:replace("x-tamarack-protocol", protocol)
  if answer.namespaces then headers:replace("x-tamarack-namespaces", answer.namespaces) end
  metadata:set("tamarack", "identity", "spiffe://" .. TRUST_DOMAIN .. "/org/" .. answer.org
    .. "/project/" .. answer.project .. "/index/" .. answer.index)
  metadata:set("tamarack", "address", answer.address)
end

function envoy_on_request(handle)
  local fine, problem = pcall(authorize, handle)
  if not fine then
    handle:logErr("authorize.lua: " .. tostring(problem))
    handle:respond({[":status"] = "503"}, UNAVAILABLE)
  end
end
