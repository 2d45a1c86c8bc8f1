// Drives ComfyUI's page in Chromium. One JSON object on stdin, one on stdout.
//   {url, convert: {name: prompt}}              -> {name: workflow}
//   {url, open: workflow, shot: file}           -> {nodes: types that the page does not know}
//   {url, open, shot, run: true, seconds}       -> {nodes, errors}: queued by the page's own button
//   {url, template: title, texts, images, shot, seconds} -> {errors}: by mouse and keyboard alone: the
//     template is clicked, its fields are filled in ({"node title": {widget: text}}), images are chosen in
//     the file dialogs, Run is clicked
const { chromium } = require("playwright-core");

const NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1";
const OPTIONS = {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", NO_NETWORK],
};

async function ready(page, url) {
  await page.goto(url);
  await page.waitForFunction(() => window.app && window.app.graph && window.LiteGraph.registered_node_types
    && window.LiteGraph.registered_node_types.CloraAddConcept, null, { timeout: 120000 });
  await page.waitForTimeout(1500);
  await page.keyboard.press("Escape"); // the template browser opens by itself on a first visit
}

async function convert(page, prompts) {
  const found = {};
  for (const [name, prompt] of Object.entries(prompts)) {
    found[name] = await page.evaluate(async ([graph, file]) => {
      window.app.loadApiJson(graph, file);
      await new Promise((done) => setTimeout(done, 500));
      window.app.graph.arrange(60);
      return window.app.graph.serialize();
    }, [prompt, `${name}.json`]);
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
  await page.getByTestId("queue-button").click();
  await page.waitForFunction(() => window.ended, null, { timeout: seconds * 1000 });
  await page.waitForTimeout(2000);
  const ended = await page.evaluate(() => window.ended);
  return ended === "success" ? [] : [ended];
}

// Runs in the page: all nodes in view, with room for the bars at the left and the top.
function fitView() {
  const boxes = window.app.graph._nodes.map((node) => node.getBounding());
  const left = Math.min(...boxes.map((box) => box[0])), top = Math.min(...boxes.map((box) => box[1]));
  const right = Math.max(...boxes.map((box) => box[0] + box[2]));
  const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
  const view = window.app.canvas.ds;
  view.scale = Math.min(1480 / (right - left), 860 / (bottom - top), 1);
  view.offset[0] = 90 / view.scale - left;
  view.offset[1] = 110 / view.scale - top;
  window.app.graph.setDirtyCanvas(true, true);
}

// Where a widget lies on the page.
async function spot(page, title, nth, widget) {
  return page.evaluate(([wanted, index, name]) => {
    const { graph, canvas } = window.app;
    const node = graph._nodes.filter((one) => one.title === wanted)[index];
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
  if (place.kind === "combo") await page.mouse.click(place.x, place.y); // opens its list
  else await page.mouse.dblclick(place.x, place.y); // opens a dialog for the value
  await page.waitForTimeout(600);
  const search = page.locator(".litecontextmenu input, .graphdialog input, .graphdialog textarea").first();
  await search.fill(String(text));
  await page.keyboard.press("Enter");
  await page.waitForTimeout(400);
}

async function choose(page, nth, file) {
  const place = await spot(page, "Load Image", nth, "upload");
  const [dialog] = await Promise.all([page.waitForEvent("filechooser"), page.mouse.click(place.x, place.y)]);
  await dialog.setFiles(file);
  await page.waitForTimeout(1200);
}

async function byHand(page, job) {
  await page.getByRole("button", { name: /templates/i }).first().click();
  await page.waitForTimeout(1500);
  await page.getByText("clora", { exact: true }).first().click();
  await page.waitForTimeout(1000);
  await page.getByText(job.template).first().click();
  await page.waitForTimeout(2500);
  await fit(page);
  for (const [nth, file] of job.images.entries()) await choose(page, nth, file);
  for (const [title, texts] of Object.entries(job.texts)) {
    for (const [widget, text] of Object.entries(texts)) await type(page, title, widget, text);
  }
  const errors = await queue(page, job.seconds);
  await fit(page);
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
  } finally {
    await browser.close();
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
