% A time-lapse from MATLAB (R2021a or newer): a session by REST, a frame a call, cells with their ids back.
%
%   time_lapse            ten made-up frames to the daemon on this machine
%
% The daemon's settings need http = ["tcp://127.0.0.1:9464"]. One on another machine needs TLS and a token (`cellsegd pair`), which goes
% into `headers`; docs/windows.md says how. CI has no MATLAB: this file is not run there; the same calls are, by curl and Python.
%
% MATLAB cannot stream by HTTP, so each frame is one call, answered when its cells are known: LabVIEW's HTTP client, NIS-Elements'
% macros with an external program and .NET Framework do just the same.

base = "http://127.0.0.1:9464";
headers = strings(0, 2);                 % e.g. ["Authorization" "Bearer 0123..."]
json = weboptions(MediaType="application/json", ContentType="json", Timeout=60);
if ~isempty(headers), json.HeaderFields = headers; end
goodbye = json;
goodbye.RequestMethod = "delete";

% A session of its own: ids, growth and measure_on need one. What is not set takes the server's default.
wanted = struct(name="MATLAB", tracking=struct(max_gap=2), measurements=struct(shape=true));
opened = webwrite(base + "/v1/sessions", wanted, json);
session = base + "/v1/sessions/" + opened.session;
fprintf("model %s on %s\n", opened.model.name, opened.device);
closing = onCleanup(@() webread(session, goodbye));

for t = 0:9
    image = picture(t);                  % yours: uint8 or uint16, height x width
    reply = segment(session, image, t, headers);
    if ~isfield(reply, "segmentation")
        disp(reply);                     % dropped or failed, and why
        continue
    end
    cells = reply.segmentation.instances;
    fprintf("frame %d: %d cells\n", t, numel(cells));
    for k = 1:numel(cells)
        cell_k = cells(k);
        if iscell(cells), cell_k = cells{k}; end
        % 64-bit integers are text in the contract's JSON. Coordinates are pixel edges: MATLAB's pixel (1,1) is around 0.5, 0.5.
        fprintf("  id %s: %d px, at %.1f, %.1f\n", cell_k.track.id, cell_k.measures.area_px, ...
            cell_k.measures.centroid_x_px + 0.5, cell_k.measures.centroid_y_px + 0.5);
    end
end

function reply = segment(session, image, t, headers)
    formats = struct(uint8="Mono8", uint16="Mono16");
    [height, width] = size(image);
    address = sprintf("%s/frames?format=%s&width=%d&height=%d&t=%d&elapsed_ms=%d", ...
        session, formats.(class(image)), width, height, t, 600000 * t);
    % MATLAB keeps columns together, cameras rows: hence the transposition. PCs are little-endian, as Mono16 is.
    body = matlab.net.http.MessageBody;
    body.Payload = typecast(reshape(image.', 1, []), "uint8");
    fields = matlab.net.http.HeaderField("Content-Type", "application/octet-stream", "Accept", "application/json");
    for k = 1:size(headers, 1)
        fields(end + 1) = matlab.net.http.HeaderField(headers(k, 1), headers(k, 2)); %#ok<AGROW>
    end
    request = matlab.net.http.RequestMessage("POST", fields, body);
    response = request.send(address);
    reply = response.Body.Data;
    if response.StatusCode ~= matlab.net.http.StatusCode.OK
        error("cellsegd:refused", "%s", char(response.Body.string));
    end
end

function image = picture(t)
    [x, y] = meshgrid(1:640, 1:480);
    image = repmat(uint16(2000), 480, 640);
    image((x - 200 - 20 * t).^2 + (y - 240).^2 < 40^2) = 30000;
end
