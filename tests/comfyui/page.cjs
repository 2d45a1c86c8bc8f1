// Drives ComfyUI's page in Chromium. One JSON object on stdin, one on stdout.
//   {url, convert: {name: prompt}}              -> {name: workflow}
//   {url, open: workflow, shot: file}           -> {nodes: types that the page does not know}
//   {url, open, shot, run: true, seconds}       -> {nodes, errors}: queued by the page's own button
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
  const errors = [];
  if (job.run) {
    await page.evaluate(() => {
      window.ended = null;
      window.app.api.addEventListener("execution_success", () => { window.ended = "success"; });
      window.app.api.addEventListener("execution_error", (e) => { window.ended = JSON.stringify(e.detail); });
    });
    await page.getByTestId("queue-button").click();
    await page.waitForFunction(() => window.ended, null, { timeout: job.seconds * 1000 });
    const ended = await page.evaluate(() => window.ended);
    if (ended !== "success") errors.push(ended);
    await page.waitForTimeout(2000);
  }
  await page.evaluate(() => {
    const boxes = window.app.graph._nodes.map((node) => node.getBounding());
    const left = Math.min(...boxes.map((box) => box[0])), top = Math.min(...boxes.map((box) => box[1]));
    const right = Math.max(...boxes.map((box) => box[0] + box[2]));
    const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
    const view = window.app.canvas.ds; // room for the bars at the left and the top
    view.scale = Math.min(1480 / (right - left), 860 / (bottom - top), 1);
    view.offset[0] = 90 / view.scale - left;
    view.offset[1] = 110 / view.scale - top;
    window.app.graph.setDirtyCanvas(true, true);
  });
  await page.waitForTimeout(1500);
  await page.screenshot({ path: job.shot, type: job.shot.endsWith(".jpg") ? "jpeg" : "png" });
  return { nodes: unknown, errors };
}

async function main() {
  const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const browser = await chromium.launch(OPTIONS);
  try {
    const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
    await ready(page, job.url);
    console.log(JSON.stringify(job.convert ? await convert(page, job.convert) : await open(page, job)));
  } finally {
    await browser.close();
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
