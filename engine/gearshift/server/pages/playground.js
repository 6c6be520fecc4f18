// The playground: one image, one task at a time, and what it cost. It speaks only to /v1.

const find = (id) => document.getElementById(id);
const JPEG_QUALITY = 0.92;
const CAMERA_SIDE = 640; // pixels, of the longer side of a camera frame that is sent
const MOST_ROWS = 50; // of the history
const SLICES = ["queue", "compute", "picture", "network"];

const state = {
  models: [],
  blob: null, // the encoded image that is sent
  running: null, // AbortController of the request under way
  taken: 0, // grows with every file, so that one that is slow to read gives way to a later one
  wanted: 0, // grows with every wish, so that a late answer to an old one is dropped
  stream: null, // of the camera
  last: null, // "model:task" of the last answer
  versions: new Map(), // model -> version of its first answer
  switches: 0,
  reloads: 0,
};

// --- small helpers ---------------------------------------------------------------------------

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function say(text, bad = false) {
  find("message").textContent = text;
  find("message").classList.toggle("bad", bad);
}

const milliseconds = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(1));

function headers() {
  const key = sessionStorage.getItem("api-key");
  return key ? { "x-api-key": key } : {};
}

async function readAnswer(response) {
  find("key-form").hidden = response.status !== 401;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `the server answered ${response.status}`);
  return answer;
}

// --- models and tasks ------------------------------------------------------------------------

async function loadModels() {
  try {
    const answer = await readAnswer(await fetch("/v1", { headers: headers() }));
    state.models = answer.models.filter((model) => model.state === "READY");
    const loading = answer.models.length - state.models.length;
    find("state").textContent = state.models.length ? "ready" : "loading";
    find("state").className = state.models.length ? "pill good" : "pill";
    if (loading || !state.models.length) setTimeout(loadModels, 1000);
  } catch (error) {
    find("state").textContent = "not reached";
    find("state").className = "pill bad";
    say(error.message, true);
    return;
  }
  const select = find("model");
  const chosen = select.value;
  select.replaceChildren(...state.models.map((model) => make("option", model.name)));
  if (state.models.some((model) => model.name === chosen)) select.value = chosen;
  showTasks();
}

function showTasks() {
  const model = state.models.find((one) => one.name === find("model").value);
  const chosen = task();
  const names = (model?.tasks ?? []).map((one) => one.name);
  const radios = names.map((name) => {
    const label = make("label");
    const input = make("input");
    Object.assign(input, { type: "radio", name: "task", value: name });
    input.checked = name === (names.includes(chosen) ? chosen : names[0]);
    input.addEventListener("change", run);
    label.append(input, make("span", name));
    return label;
  });
  find("tasks").replaceChildren(find("tasks").firstElementChild, ...radios);
}

const task = () => document.querySelector("input[name=task]:checked")?.value;

// --- where the image comes from --------------------------------------------------------------

async function take(file) {
  if (!file) return;
  stopCamera();
  const turn = ++state.taken;
  forget();
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    // The server decodes JPEG and PNG; whatever else the browser knows is sent as PNG.
    const plain = ["image/jpeg", "image/png"].includes(file.type);
    const blob = plain ? file : await encode(bitmap, bitmap.width, bitmap.height, "image/png");
    if (turn !== state.taken) return;
    state.blob = blob;
  } catch {
    if (turn === state.taken) {
      say(`${file.name || "this"} is not an image that the browser can read`, true);
    }
    return;
  }
  const input = find("input");
  if (input.src) URL.revokeObjectURL(input.src);
  input.src = URL.createObjectURL(file);
  input.hidden = false;
  find("frame").hidden = false;
  find("empty").hidden = true;
  find("result").hidden = true;
  await run();
}

function encode(source, width, height, type) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(source, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, JPEG_QUALITY));
}

async function toggleCamera() {
  if (state.stream) {
    stopCamera();
    return;
  }
  const video = find("camera");
  try {
    const wanted = { video: { facingMode: "environment" } };
    if (!navigator.mediaDevices) throw new Error("cameras need https, or localhost");
    state.stream = await navigator.mediaDevices.getUserMedia(wanted);
    video.srcObject = state.stream;
    await video.play();
  } catch (error) {
    stopCamera();
    say(`no camera: ${error.message}`, true);
    return;
  }
  find("use-camera").setAttribute("aria-pressed", "true");
  find("use-camera").textContent = "Stop camera";
  find("input").hidden = true;
  video.hidden = false;
  find("frame").hidden = false;
  find("empty").hidden = true;
  const stream = state.stream;
  while (state.stream === stream) {
    const scale = Math.min(1, CAMERA_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const size = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    state.blob = await encode(video, ...size, "image/jpeg");
    if (!(await run())) await new Promise((resolve) => setTimeout(resolve, 500));
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  for (const track of state.stream?.getTracks() ?? []) track.stop();
  state.stream = null;
  find("camera").hidden = true;
  find("use-camera").setAttribute("aria-pressed", "false");
  find("use-camera").textContent = "Camera";
}

// --- one request -----------------------------------------------------------------------------

// Drops what was wished before; the number of the wish that takes its place.
function forget() {
  state.running?.abort();
  find("stage").classList.remove("busy");
  return ++state.wanted;
}

async function run() {
  const model = find("model").value;
  if (!state.blob || !model || !task()) return false;
  const wish = forget();
  state.running = new AbortController();
  const path = `/v1/${encodeURIComponent(model)}/${encodeURIComponent(task())}`;
  find("stage").classList.add("busy");
  try {
    const begun = performance.now();
    const response = await fetch(`${path}?format=json&picture=true&size=model`, {
      method: "POST",
      headers: { ...headers(), "content-type": state.blob.type || "application/octet-stream" },
      body: state.blob,
      signal: state.running.signal,
    });
    const answer = await readAnswer(response);
    if (wish !== state.wanted) return false;
    await showResult(answer);
    showLatency(answer.timing_ms, performance.now() - begun);
    showExperts(answer.experts);
    remember(answer);
    return true;
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
    return error.name === "AbortError";
  } finally {
    if (wish === state.wanted) find("stage").classList.remove("busy");
  }
}

// --- what is shown ---------------------------------------------------------------------------

async function showResult(answer) {
  const result = find("result");
  if (answer.picture) {
    result.src = answer.picture;
    await result.decode();
  }
  result.hidden = !answer.picture;
  result.alt = `${answer.task} of the image`;
  result.classList.toggle("pixels", answer.kind === "segmentation");
  say(summary(answer));
  const entries = answer.legend.map((entry) => {
    const swatch = make("i", "", "swatch");
    swatch.style.backgroundColor = entry.colour;
    const item = make("li");
    item.append(swatch, `${entry.label} ${(100 * entry.share).toFixed(entry.share < 0.1 ? 1 : 0)} %`);
    return item;
  });
  if (answer.scale) entries.push(rampEntry(answer.scale));
  find("legend").replaceChildren(...entries);
}

function rampEntry(scale) {
  const ramp = make("i", "", "ramp");
  ramp.style.background = `linear-gradient(to right, ${scale.colours.join(", ")})`;
  const item = make("li");
  const end = (side) => `${scale[side].toPrecision(3)} ${scale.unit}`.trim();
  item.append(end("from"), ramp, end("to"));
  return item;
}

function summary(answer) {
  const numbers = answer.result;
  if (answer.kind === "depth") {
    return `${answer.task}: nearest ${numbers.nearest.toFixed(2)}, median ${numbers.median.toFixed(2)}, farthest ${numbers.farthest.toFixed(2)} ${numbers.unit}`.trim();
  }
  if (answer.kind === "probability") {
    return `${answer.task}: ${(100 * numbers.share_above_threshold).toFixed(1)} % of the pixels are above the threshold`;
  }
  if (answer.kind === "normals") {
    return `${answer.task}: red, green and blue are the direction a surface faces; on average ${numbers.mean_direction.map((x) => x.toFixed(2)).join(", ")}`;
  }
  if (answer.kind === "segmentation") return `${answer.task}: ${answer.legend.length} labels`;
  return `${answer.task}: output ${JSON.stringify(numbers.shape)}, which has no picture`;
}

function showLatency(timing, total) {
  const parts = {
    queue: timing.queue,
    compute: timing.compute,
    picture: timing.decode + timing.encode,
  };
  parts.network = Math.max(0, total - parts.queue - parts.compute - parts.picture);
  find("total").textContent = milliseconds(total);
  const titles = { picture: "pictures", network: "network, browser" };
  find("bar").replaceChildren(
    ...SLICES.map((slice) => {
      const part = make("i", "", slice);
      part.style.width = `${(100 * parts[slice]) / total}%`;
      return part;
    }),
  );
  find("split").replaceChildren(
    ...SLICES.map((slice) => {
      const row = make("div");
      const term = make("dt");
      term.append(make("i", "", `dot ${slice}`), titles[slice] ?? slice);
      row.append(term, make("dd", `${milliseconds(parts[slice])} ms`));
      return row;
    }),
  );
}

function showExperts(experts) {
  const rows = Object.entries(experts ?? {});
  find("experts-note").textContent = rows.length
    ? "Each row is a block, each square one of its experts: the stronger its colour, the more tokens chose it for this task."
    : "This backend does not tell which experts worked.";
  if (!rows.length) {
    find("heat").replaceChildren();
    return;
  }
  const most = Math.max(1, ...rows.flatMap(([, counts]) => counts));
  const head = make("tr");
  head.append(make("td"));
  rows[0][1].forEach((_, expert) => {
    const cell = make("th", String(expert));
    cell.scope = "col";
    head.append(cell);
  });
  const body = make("tbody");
  for (const [name, counts] of rows) {
    const row = make("tr");
    const title = make("th", `block ${name.match(/\d+/)?.[0] ?? name}`);
    title.scope = "row";
    row.append(title, ...counts.map((count, expert) => heatCell(count, most, name, expert)));
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  find("heat").replaceChildren(top, body);
}

function heatCell(count, most, name, expert) {
  const share = Math.sqrt(count / most); // so that a few tokens are still seen
  const cell = make("td", count ? String(count) : "");
  cell.title = `${name}, expert ${expert}: ${count} tokens`;
  cell.style.backgroundColor = `color-mix(in srgb, var(--heat-high) ${100 * share}%, var(--heat-low))`;
  cell.classList.toggle("strong", share > 0.55);
  return cell;
}

function remember(answer) {
  const name = `${answer.model}:${answer.task}`;
  const switched = state.last !== null && state.last !== name;
  const first = state.versions.get(answer.model);
  if (switched) state.switches += 1;
  if (first !== undefined && first !== answer.version) state.reloads += 1;
  state.versions.set(answer.model, answer.version);
  state.last = name;
  const reloads = state.reloads ? `${state.reloads} reloads of a model` : "nothing reloaded";
  find("switches").textContent = state.switches;
  find("reloads").textContent = reloads;
  const row = make("tr");
  row.append(
    make("td", answer.task, switched ? "switched" : ""),
    make("td", `${milliseconds(answer.timing_ms.compute)} ms`),
    make("td", String(answer.batch_size)),
    make("td", answer.version),
  );
  find("history").prepend(row);
  while (find("history").children.length > MOST_ROWS) find("history").lastElementChild.remove();
}

// --- wiring ----------------------------------------------------------------------------------

find("blend").addEventListener("input", () => {
  find("result").style.opacity = find("blend").value / 100;
});
find("result").style.opacity = find("blend").value / 100;
find("model").addEventListener("change", () => {
  showTasks();
  run();
});
find("file").addEventListener("change", () => {
  take(find("file").files[0]);
  find("file").value = ""; // so that the same file can be chosen again
});
find("use-camera").addEventListener("click", toggleCamera);
find("use-example").addEventListener("click", async () => {
  const response = await fetch("/pages/example.jpg");
  take(await response.blob());
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("api-key", find("key").value);
  say("");
  loadModels().then(run);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  take(file);
});
const stage = find("stage");
for (const name of ["dragover", "dragleave", "drop"]) {
  stage.addEventListener(name, (event) => {
    event.preventDefault();
    stage.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
loadModels();
