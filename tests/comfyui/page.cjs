// Drives ComfyUI's page in Chromium. One JSON object on stdin, one on stdout.
//   {url, convert: {name: prompt}}              -> {name: workflow}
//   {url, open: workflow, shot: file}           -> {nodes: types that the page does not know}
//   {url, open, shot, run: true, seconds}       -> {nodes, errors}: queued by the page's own button; nodes that
//     lie on others are errors too, with and without a run
//   {url, template: title, texts, images, shot, seconds} -> {errors}: by mouse and keyboard alone: the
//     template is clicked, its fields are filled in ({"node title": {widget: text}}), images are chosen in
//     the file dialogs, Run is clicked
const { chromium } = require("playwright-core");
const { arrange, overlaps, resize } = require("./arrange.cjs");

const NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1";
const OPTIONS = {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", NO_NETWORK],
};

async function ready(page, url) {
  page.on("filechooser", () => {}); // or the first dialog may open before anybody listens
  // The template browser opens by itself on a first visit, whenever it has loaded. Small nodes lose their texts.
  const settings = { "Comfy.TutorialCompleted": true, "Comfy.Minimap.Visible": false,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0 };
  await fetch(`${url}/settings`, { method: "POST", body: JSON.stringify(settings) });
  await page.goto(url);
  await page.waitForFunction(() => window.app && window.app.graph && window.LiteGraph.registered_node_types
    && window.LiteGraph.registered_node_types.CloraAddConcept, null, { timeout: 120000 });
  await page.waitForTimeout(1500);
}

async function convert(page, prompts) {
  const found = {};
  for (const [name, prompt] of Object.entries(prompts)) {
    await page.evaluate(async ([graph, file]) => {
      window.app.loadApiJson(graph, file);
      await new Promise((done) => setTimeout(done, 500));
    }, [prompt, `${name}.json`]);
    await page.evaluate(resize);
    await fit(page); // what is drawn may need more room
    await page.evaluate(arrange);
    await page.evaluate(fitView);
    // Older pages open a workflow where it says, newer ones where it fits.
    found[name] = await page.evaluate(() => {
      const made = window.app.graph.serialize(), { scale, offset } = window.app.canvas.ds;
      const ds = { scale: Math.round(scale * 100) / 100, offset: [...offset].map(Math.round) };
      return { ...made, extra: { ...made.extra, ds } };
    });
  }
  return found;
}

async function open(page, job) {
  const unknown = await page.evaluate(async (workflow) => {
    await window.app.loadGraphData(workflow);
    return window.app.graph._nodes.map((node) => node.type).filter((type) => !window.LiteGraph.registered_node_types[type]);
  }, job.open);
  const errors = job.run ? await queue(page, job.seconds) : [];
  await fit(page);
  errors.push(...await page.evaluate(overlaps));
  await page.screenshot({ path: job.shot, type: job.shot.endsWith(".jpg") ? "jpeg" : "png" });
  return { nodes: unknown, errors };
}

// Click Run; what went wrong.
async function queue(page, seconds) {
  await page.evaluate(() => {
    window.ended = null;
    window.app.api.addEventListener("execution_success", () => { window.ended = "success"; });
    window.app.api.addEventListener("execution_error", (e) => { window.ended = JSON.stringify(e.detail); });
  });
  const asked = page.waitForResponse((one) => one.url().endsWith("/prompt") && one.request().method() === "POST");
  await page.getByTestId("queue-button").click();
  const answer = await asked;
  if (!answer.ok()) return [await answer.text()];
  await page.waitForFunction(() => window.ended, null, { timeout: seconds * 1000 });
  await page.waitForTimeout(2000);
  const ended = await page.evaluate(() => window.ended);
  return ended === "success" ? [] : [ended];
}

// Runs in the page: all nodes in view, with room for the bars at the left and the top.
function fitView() {
  const title = 30, margin = 30, side = 80, bars = [110, 60]; // the page's own at the left, at the top and the bottom
  const edges = (edge) => window.app.graph._nodes.map(({ pos, size }) => edge(pos[0], pos[1] - title, size));
  const left = Math.min(...edges((x) => x)), top = Math.min(...edges((_, y) => y));
  const width = Math.max(...edges((x, _, size) => x + size[0])) - left;
  const height = Math.max(...edges((_, y, size) => y + size[1] + title)) - top;
  const view = window.app.canvas.ds, space = window.app.canvas.canvas.getBoundingClientRect();
  view.scale = Math.min((space.width - side - 2 * margin) / width, (space.height - bars[0] - bars[1]) / height, 1);
  view.offset[0] = (side + margin) / view.scale - left;
  view.offset[1] = bars[0] / view.scale - top;
  window.app.graph.setDirtyCanvas(true, true);
}

// Where a widget lies on the page.
async function spot(page, title, nth, widget) {
  return page.evaluate(([wanted, index, name]) => {
    const { graph, canvas } = window.app;
    // By id: a node that is clicked becomes the last of the list.
    const node = graph._nodes.filter((one) => one.title === wanted).sort((a, b) => a.id - b.id)[index];
    const found = node.widgets.find((one) => one.name === name);
    const [x, y] = canvas.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + found.last_y + 10]);
    const box = canvas.canvas.getBoundingClientRect();
    return { x: box.left + x, y: box.top + y, kind: found.type };
  }, [title, nth, widget]);
}

async function fit(page) {
  await page.keyboard.press("Escape");
  await page.evaluate(fitView);
  await page.waitForTimeout(1000);
}

async function type(page, title, widget, text) {
  const place = await spot(page, title, 0, widget);
  await page.mouse.click(place.x, place.y); // opens a list, or a dialog for the value
  await page.waitForTimeout(600);
  if (place.kind === "combo") await page.locator(".litemenu-entry", { hasText: String(text) }).first().click();
  else {
    await page.locator(".graphdialog input, .graphdialog textarea").first().fill(String(text));
    await page.keyboard.press("Enter");
  }
  await page.waitForTimeout(400);
}

async function choose(page, nth, file) {
  const place = await spot(page, "Load Image", nth, "upload");
  const click = page.mouse.click(place.x, place.y, { delay: 80 });
  const [dialog] = await Promise.all([page.waitForEvent("filechooser"), click]);
  await dialog.setFiles(file);
  await page.waitForTimeout(1200);
}

async function byHand(page, job) {
  await page.getByRole("button", { name: /templates/i }).first().click();
  await page.waitForTimeout(1500);
  const browser = page.getByRole("dialog");
  await browser.getByText("clora", { exact: true }).first().click();
  await page.waitForTimeout(1000);
  await browser.getByText(job.template).first().click();
  await page.waitForTimeout(2500);
  await fit(page);
  for (const [nth, file] of job.images.entries()) await choose(page, nth, file);
  for (const [title, texts] of Object.entries(job.texts)) {
    for (const [widget, text] of Object.entries(texts)) await type(page, title, widget, text);
  }
  const errors = await queue(page, job.seconds);
  await fit(page);
  errors.push(...await page.evaluate(overlaps));
  await page.screenshot({ path: job.shot });
  return { errors };
}

async function main() {
  const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const browser = await chromium.launch(OPTIONS);
  try {
    const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
    await ready(page, job.url);
    page.setDefaultTimeout(20000);
    const found = job.convert ? await convert(page, job.convert)
      : job.template ? await byHand(page, job) : await open(page, job);
    console.log(JSON.stringify(found));
  } catch (error) {
    if (job.shot) await browser.contexts()[0].pages()[0].screenshot({ path: job.shot });
    throw error;
  } finally {
    await browser.close();
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
